"""Changing permissions: what the user gives is checked before anything is sent."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import UNSET, Struct, UnsetType

from gobbler.client import errors, source
from gobbler.client.connection import Connection
from gobbler.client.notices import Ignored, notify
from gobbler.errors import Code, Refused, quoted
from gobbler.model.records import Permissions, Uploader
from gobbler.rules.given_permissions import (
    INSIST,
    AnyUploader,
    check_entries,
    check_owners,
    decode_uploader,
)


class NewPermissions(Struct, frozen=True):
    """The permissions to be stored; ``UNSET`` fields keep their values."""

    owners: tuple[str, ...] | UnsetType = UNSET
    uploaders: tuple[AnyUploader, ...] | UnsetType = UNSET
    global_write: bool | UnsetType = UNSET


def new_permissions(
    owners: Sequence[str] | None,
    uploaders: Sequence[AnyUploader] | None,
    global_write: bool | None = None,
    *,
    asset: str | None = None,
    stored: Permissions | None = None,
    force: bool = False,
) -> NewPermissions:
    """Permissions from arguments of which ``None`` means "not given".

    Raises :class:`~gobbler.client.errors.RequestRefused` for what can't be meant. What is
    ``stored`` already is not checked. ``force`` accepts odd names.
    """
    known = stored or Permissions()
    try:
        if owners is not None:
            check_owners(owners, known.owners, force=force)
        if uploaders is not None:
            check_entries(uploaders, known.uploaders, asset=asset, force=force)
    except Refused as error:
        raise errors.RequestRefused(error.reason, code=error.code, hint=error.hint) from None
    if asset is not None and global_write:
        notify("global_write has no meaning for an asset, and is ignored", Ignored)
    if asset is not None:
        global_write = None
    return NewPermissions(
        UNSET if owners is None else tuple(owners),
        UNSET if uploaders is None else tuple(uploaders),
        UNSET if global_write is None else global_write,
    )


def parse_uploader(text: str) -> Uploader:
    """An uploader as on a command line: a user, or an entry in JSON.

    Raises :class:`~gobbler.errors.Refused`.
    """
    return decode_uploader(text) if text.lstrip().startswith("{") else Uploader(text)


def appended(stored: Permissions, new: NewPermissions) -> NewPermissions:
    """``new`` after the stored permissions: owners once each, all uploaders."""
    owners, uploaders = new.owners, new.uploaders
    if owners is not UNSET:
        owners = tuple(dict.fromkeys((*stored.owners, *owners)))
    if uploaders is not UNSET:
        uploaders = (*stored.uploaders, *uploaders)
    return NewPermissions(owners, uploaders, new.global_write)


def set_permissions(
    connection: Connection,
    project: str,
    asset: str | None,
    *,
    owners: Sequence[str] | None,
    uploaders: Sequence[AnyUploader] | None,
    global_write: bool | None,
    append: bool,
    force: bool,
    spoof: str | None,
    dry_run: bool,
) -> NewPermissions:
    """Set the permissions of a project or an asset; see :meth:`Project.set_permissions`."""
    given = (owners, uploaders, global_write)
    if append and (owners is not None or uploaders is not None):
        stored = source.permissions(connection.source, project, asset)
        new = appended(stored, new_permissions(*given, asset=asset, stored=stored, force=force))
    else:
        try:
            new = new_permissions(*given, asset=asset, force=force)
        except errors.RequestRefused:
            # What is odd may be stored already: then others can be replaced all the same.
            stored = source.permissions(connection.source, project, asset)
            new = new_permissions(*given, asset=asset, stored=stored, force=force)
        if asset is None and not force:
            check_owned(project, new)
    if not dry_run:
        connection.request(
            "set_permissions", project=project, asset=asset, permissions=new, spoof=spoof
        )
    return new


def check_owned(project: str, new: NewPermissions) -> None:
    """Raise :class:`~gobbler.client.errors.RequestRefused` if nobody would own the project."""
    if new.owners == ():
        raise errors.RequestRefused(
            f"nobody would own {quoted(project)}; only administrators could change it",
            code=Code.NO_OWNER,
            hint=INSIST,
        )
