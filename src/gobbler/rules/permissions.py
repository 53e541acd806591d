"""Who may do what, and who may act for whom.

From the strongest to the weakest: administrators, project owners, asset owners, uploaders.

A line of the spoof file is ``user:other,other``. ``*`` stands for everyone but administrators, who
must be named; ``-name`` takes one out of ``*``. A line with no names is ignored; a later line for
the same user replaces an earlier one.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from msgspec import UNSET
from msgspec.structs import replace

from gobbler.errors import Code, Refused
from gobbler.model.names import VersionKey
from gobbler.model.records import LoosePermissions, Permissions, Uploader, parse_time


@dataclass(frozen=True)
class UploadRight:
    """The right to upload a version.

    ``trusted``: the version may be final at once. ``makes_owner``: the uploader becomes the
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
    """How ``user`` may upload the version ``key``; ``None`` if they may not.

    ``asset`` is the asset's own permissions, if it has any: they apply to that asset alone, so an
    ``asset`` in one of its entries is ignored. ``now`` has a time zone.
    """
    if project.global_write is True and not asset_exists:
        return UploadRight(trusted=True, makes_owner=True)
    if is_asset_owner(user, admins, project, asset):
        return UploadRight(trusted=True)
    own = () if asset is None else of_asset(asset.uploaders)
    uploaders = (*project.uploaders, *own)
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


def of_asset(uploaders: Iterable[Uploader]) -> tuple[Uploader, ...]:
    """The uploaders in an asset's own permissions, which apply to that asset whatever they name."""
    return tuple(replace(uploader, asset=UNSET) for uploader in uploaders)


def updated(stored: Permissions, asked: LoosePermissions, *, is_asset: bool = False) -> Permissions:
    """``stored`` with each property that is given in ``asked`` replaced.

    For an asset, ``global_write`` has no meaning and its uploaders need no ``asset``.
    """
    given = asked.strict()
    owners = stored.owners if asked.owners is None else given.owners
    uploaders = stored.uploaders if asked.uploaders is None else given.uploaders
    if is_asset:
        return Permissions(owners, of_asset(uploaders))
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

    Its owners and its uploader (``None``: unknown) may.
    """
    return is_asset_owner(user, admins, project, asset) or user == uploader


EVERYONE = "*"


@dataclass(frozen=True)
class Spoofable:
    """The users for whom one user may act."""

    named: frozenset[str]
    excluded: frozenset[str]

    def covers(self, user: str) -> bool:
        """Whether ``user`` is among them."""
        return user in self.named or (EVERYONE in self.named and user not in self.excluded)


def parse_spoofing(lines: Iterable[str]) -> dict[str, Spoofable]:
    """Read the lines of a spoof file.

    Raises :class:`~gobbler.errors.Refused` that names the line that can't be read.
    """
    found: dict[str, Spoofable] = {}
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text:
            continue
        user, colon, others = text.partition(":")
        user = user.strip()
        if not colon or not user:
            raise Refused(
                f"line {number} is not of the form `user:other,other`: {text!r}",
                code=Code.INVALID_CONFIGURATION,
            )
        names = [name for part in others.split(",") if (name := part.strip())]
        if names:
            found[user] = Spoofable(
                frozenset(name for name in names if not name.startswith("-")),
                frozenset(name[1:] for name in names if name.startswith("-")),
            )
    return found


def may_spoof(
    user: str, other: str, spoofing: Mapping[str, Spoofable], admins: Collection[str]
) -> bool:
    """Whether ``user`` may act for ``other``.

    ``*`` gives nobody the rights of an administrator that they do not have themselves.
    """
    if user not in spoofing:
        return False
    others = spoofing[user]
    if other in admins and user not in admins:
        return other in others.named
    return others.covers(other)
