"""What an upload relies on: checked before the work, and again at the commit point."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from gobbler.actions.context import RequestContext
from gobbler.errors import Code, Forbidden, Missing, Refused, quoted
from gobbler.fs.clock import now
from gobbler.fs.fingerprint import Fingerprint
from gobbler.model.names import VersionKey
from gobbler.model.records import Entry, Manifest
from gobbler.registry.registry import Registry
from gobbler.rules.permissions import UploadRight, upload_right


class Outdated(Exception):
    """What an upload relied on has changed, so that it must be begun anew."""


def authorise(context: RequestContext, key: VersionKey) -> UploadRight:
    """How the user may upload ``key``, which must not exist yet.

    Raises :class:`~gobbler.errors.Missing`, :class:`~gobbler.errors.Forbidden` or
    :class:`~gobbler.errors.Refused`.
    """
    registry = context.service.registry
    right = upload_right(
        context.user,
        key,
        admins=context.service.admins,
        project=registry.permissions(key.project),
        asset=registry.asset_permissions(key.of_asset),
        asset_exists=registry.has(key.of_asset.path),
        now=now(),
    )
    if right is None:
        raise Forbidden(
            f"user {quoted(context.user)} is not allowed to upload to {quoted(key.path)}",
            hint="Ask an owner of the project to add you to its uploaders.",
        )
    if registry.has(key.path):
        raise Refused(
            f"version {quoted(key.version)} of {quoted(key.of_asset.path)} already exists",
            code=Code.VERSION_EXISTS,
        )
    return right


@dataclass(frozen=True)
class Assumptions:
    """What was decided upon before the long work; made by :meth:`of`.

    ``linked``: the state of the manifest of each version that is linked to.
    """

    context: RequestContext
    key: VersionKey
    right: UploadRight
    linked: dict[VersionKey, Fingerprint]

    @classmethod
    def of(
        cls, context: RequestContext, key: VersionKey, right: UploadRight, manifest: Manifest
    ) -> Assumptions:
        """Check that every link of ``manifest`` leads to what it says.

        That is done once, before the locks are taken; under them, only whether the
        manifests are still the same. Raises :class:`Outdated`.
        """
        registry = context.service.registry
        linked: dict[VersionKey, Fingerprint] = {}
        for version, files in _linked_files(key, manifest).items():
            linked[version] = registry.fingerprint(version.manifest)
            if not _stands(registry, version, files):
                raise Outdated
        return cls(context, key, right, linked)

    def check(self) -> None:
        """Check all of it again, under the locks.

        Raises what :func:`authorise` raises, or :class:`Outdated`.
        """
        if authorise(self.context, self.key) != self.right:
            raise Outdated
        registry = self.context.service.registry
        for version, fingerprint in self.linked.items():
            if registry.fingerprint(version.manifest) != fingerprint or not _is_final(
                registry, version
            ):
                raise Outdated


def _linked_files(key: VersionKey, manifest: Manifest) -> dict[VersionKey, dict[str, Entry]]:
    """The files of other versions that are linked to, each with what it must be."""
    found: dict[tuple[str, str, str], dict[str, Entry]] = defaultdict(dict)
    for entry in manifest.values():
        link = entry.link
        while link is not None:
            found[link.project, link.asset, link.version][link.path] = entry
            link = link.ancestor
    found.pop((key.project, key.asset, key.version), None)
    return {VersionKey(*place): files for place, files in found.items()}


def _stands(registry: Registry, version: VersionKey, files: dict[str, Entry]) -> bool:
    try:
        present = registry.manifest(version)
    except Missing:
        return False
    return all(
        (found := present.get(path)) is not None
        and (found.size, found.md5sum) == (entry.size, entry.md5sum)
        for path, entry in files.items()
    )


def _is_final(registry: Registry, version: VersionKey) -> bool:
    try:
        return not registry.summary(version).on_probation
    except Missing:
        return False
