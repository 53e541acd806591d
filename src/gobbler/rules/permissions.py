"""Who may do what.

From the strongest to the weakest: administrators, project owners, asset owners, uploaders.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from msgspec import UNSET
from msgspec.structs import replace

from gobbler.model.names import VersionKey
from gobbler.model.records import LoosePermissions, Permissions, Uploader, parse_time


@dataclass(frozen=True)
class UploadRight:
    """What an upload may do.

    ``trusted``: it need not go on probation. ``makes_owner``: the uploader becomes the
    owner of the asset that the upload creates.
    """

    trusted: bool
    makes_owner: bool = False


def is_project_owner(user: str, admins: Collection[str], project: Permissions) -> bool:
    """Whether ``user`` may do what a project's owners may: administrators may, too."""
    return user in admins or user in project.owners


def is_asset_owner(
    user: str, admins: Collection[str], project: Permissions, asset: Permissions | None
) -> bool:
    """Whether ``user`` may do what an asset's owners may: a project's owners may, too."""
    return is_project_owner(user, admins, project) or (asset is not None and user in asset.owners)


def upload_right(
    user: str,
    key: VersionKey,
    *,
    admins: Collection[str],
    project: Permissions,
    asset: Permissions | None,
    asset_exists: bool,
    now: dt.datetime,
) -> UploadRight | None:
    """How ``user`` may upload the version ``key``; ``None``: not at all.

    ``asset`` is the asset's own permissions, if it has any; ``now`` has a time zone.
    """
    if project.global_write is True and not asset_exists:
        return UploadRight(trusted=True, makes_owner=True)
    if is_asset_owner(user, admins, project, asset):
        return UploadRight(trusted=True)
    uploaders = (*project.uploaders, *(() if asset is None else asset.uploaders))
    found = first_match(user, key, uploaders, now)
    return None if found is None else UploadRight(trusted=found.trusted is True)


def first_match(
    user: str, key: VersionKey, uploaders: Iterable[Uploader], now: dt.datetime
) -> Uploader | None:
    """The first of ``uploaders`` that lets ``user`` upload ``key`` at the time ``now``."""
    return next((entry for entry in uploaders if _matches(entry, user, key, now)), None)


def _matches(entry: Uploader, user: str, key: VersionKey, now: dt.datetime) -> bool:
    return (
        entry.id == user
        and entry.asset in (UNSET, key.asset)
        and entry.version in (UNSET, key.version)
        and (entry.until is UNSET or _is_later(entry.until, now))
    )


def _is_later(text: str, now: dt.datetime) -> bool:
    until = parse_time(text)
    return until is not None and until > now


def updated(stored: Permissions, asked: LoosePermissions, *, of_asset: bool = False) -> Permissions:
    """``stored`` with each property that is given in ``asked`` replaced.

    For an asset, ``global_write`` has no meaning and its uploaders need no ``asset``.
    """
    given = asked.strict()
    owners = stored.owners if asked.owners is None else given.owners
    uploaders = stored.uploaders if asked.uploaders is None else given.uploaders
    if of_asset:
        bare = tuple(replace(uploader, asset=UNSET) for uploader in uploaders)
        return Permissions(owners, bare)
    asked_write = asked.global_write
    write = stored.global_write if asked_write is None else asked_write
    return Permissions(owners, uploaders, write)


def may_reject(
    user: str,
    admins: Collection[str],
    project: Permissions,
    asset: Permissions | None,
    uploader: str | None,
) -> bool:
    """Whether ``user`` may reject a version on probation that ``uploader`` uploaded.

    Its owners may, and whoever uploaded it (``None``: not known).
    """
    return is_asset_owner(user, admins, project, asset) or user == uploader
