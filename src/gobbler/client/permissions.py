"""Permissions as a user asks for them to be stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import UNSET, Struct, UnsetType

from gobbler.client import source
from gobbler.client.connection import Connection
from gobbler.model.records import Permissions, Uploader

AnyUploader = Uploader | Mapping[str, object]
"""An uploader's entry. A mapping is sent as it is; the service reports what is wrong with it."""


class NewPermissions(Struct, frozen=True):
    """The permissions to be stored; what is ``UNSET`` stays as it is."""

    owners: tuple[str, ...] | UnsetType = UNSET
    uploaders: tuple[AnyUploader, ...] | UnsetType = UNSET
    global_write: bool | UnsetType = UNSET


def new_permissions(
    owners: Sequence[str] | None,
    uploaders: Sequence[AnyUploader] | None,
    global_write: bool | None = None,
) -> NewPermissions:
    """Permissions from arguments of which ``None`` means "not given"."""
    return NewPermissions(
        UNSET if owners is None else tuple(owners),
        UNSET if uploaders is None else tuple(uploaders),
        UNSET if global_write is None else global_write,
    )


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
    spoof: str | None,
    dry_run: bool,
) -> NewPermissions:
    """Set the permissions of a project or an asset; see :meth:`Project.set_permissions`."""
    new = new_permissions(owners, uploaders, global_write)
    if append and (new.owners is not UNSET or new.uploaders is not UNSET):
        new = appended(source.permissions(connection.source, project, asset), new)
    if not dry_run:
        connection.request(
            "set_permissions", project=project, asset=asset, permissions=new, spoof=spoof
        )
    return new
