"""What an upload relies on: checked before the work, and again at the commit point."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gobbler.actions.site import Call, now
from gobbler.errors import Forbidden, Missing, Refused, quoted
from gobbler.names import VersionKey
from gobbler.records import Manifest
from gobbler.registry import Registry
from gobbler.rules.permissions import UploadRight, upload_right


class Outdated(Exception):
    """What an upload relied on has changed, so that it must be begun anew."""


def authorise(call: Call, key: VersionKey) -> UploadRight:
    """How the user may upload ``key``, which must not exist yet.

    Raises :class:`~gobbler.errors.Missing`, :class:`~gobbler.errors.Forbidden` or
    :class:`~gobbler.errors.Refused`.
    """
    registry = call.site.registry
    right = upload_right(
        call.user,
        key,
        admins=call.site.admins,
        project=registry.permissions(key.project),
        asset=registry.asset_permissions(key.of_asset),
        asset_exists=registry.has(key.of_asset.path),
        now=now(),
    )
    if right is None:
        raise Forbidden(
            f"user {quoted(call.user)} is not allowed to upload to {quoted(key.path)}",
            hint="Ask an owner of the project to add you to its uploaders.",
        )
    if registry.has(key.path):
        raise Refused(
            f"version {quoted(key.version)} of {quoted(key.of_asset.path)} already exists"
        )
    return right


@dataclass(frozen=True)
class Assumptions:
    """What was decided upon before the long work."""

    call: Call
    key: VersionKey
    right: UploadRight
    manifest: Manifest

    def check(self) -> None:
        """Check all of it again, under the locks.

        Raises what :func:`authorise` raises, or :class:`Outdated`.
        """
        if authorise(self.call, self.key) != self.right:
            raise Outdated
        registry = self.call.site.registry
        if not all(_stands(registry, linked) for linked in set(self._linked())):
            raise Outdated

    def _linked(self) -> Iterator[VersionKey]:
        for entry in self.manifest.values():
            if entry.link is not None:
                yield from {entry.link.key, entry.link.end.key} - {self.key}


def _stands(registry: Registry, key: VersionKey) -> bool:
    try:
        return not registry.summary(key).on_probation
    except Missing:
        return False
