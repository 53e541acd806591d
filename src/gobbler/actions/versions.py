"""What actions on a version that exists have in common."""

from __future__ import annotations

from gobbler.actions.guards import check_asset
from gobbler.actions.site import Call
from gobbler.errors import Forbidden, Missing, quoted
from gobbler.names import VersionKey
from gobbler.records import Permissions
from gobbler.registry import Registry
from gobbler.requests import OfVersion


def existing_version(registry: Registry, request: OfVersion) -> VersionKey:
    """The version that ``request`` is about.

    Raises :class:`~gobbler.errors.Refused` for bad names and
    :class:`~gobbler.errors.Missing` when project, asset or version is not there.
    """
    key = VersionKey.checked(request.project, request.asset, request.version)
    check_asset(registry, key.of_asset)
    if not registry.has(key.path):
        raise Missing(f"version {quoted(key.path)} does not exist")
    return key


def owners_of(registry: Registry, key: VersionKey) -> tuple[Permissions, Permissions | None]:
    """The permissions of a version's project and of its asset."""
    return registry.permissions(key.project), registry.asset_permissions(key.of_asset)


def check_admin(call: Call, what: str) -> None:
    """Raise :class:`~gobbler.errors.Forbidden` unless an administrator asks for ``what``."""
    if call.user not in call.site.admins:
        raise Forbidden(
            f"user {quoted(call.user)} is not an administrator, which it takes to {what}"
        )
