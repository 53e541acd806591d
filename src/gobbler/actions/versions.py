"""What actions on a version that exists have in common."""

from __future__ import annotations

from gobbler.actions.context import RequestContext
from gobbler.errors import Code, Forbidden, Missing, quoted
from gobbler.model.names import VersionKey
from gobbler.model.records import Permissions
from gobbler.model.requests import OfVersion
from gobbler.registry.locks import check_asset
from gobbler.registry.registry import Registry


def existing_version(registry: Registry, request: OfVersion) -> VersionKey:
    """The version that ``request`` is about.

    Raises :class:`~gobbler.errors.Refused` for bad names and
    :class:`~gobbler.errors.Missing` when project, asset or version is not there.
    """
    key = VersionKey.checked(request.project, request.asset, request.version)
    check_asset(registry, key.of_asset)
    if not registry.has(key.path):
        raise Missing(f"version {quoted(key.path)} does not exist", code=Code.VERSION_NOT_FOUND)
    return key


def owners_of(registry: Registry, key: VersionKey) -> tuple[Permissions, Permissions | None]:
    """The permissions of a version's project and of its asset."""
    return registry.permissions(key.project), registry.asset_permissions(key.of_asset)


def check_admin(context: RequestContext, what: str) -> None:
    """Raise :class:`~gobbler.errors.Forbidden` unless an administrator asks for ``what``."""
    if context.user not in context.service.admins:
        raise Forbidden(
            f"user {quoted(context.user)} is not an administrator, which it takes to {what}"
        )
