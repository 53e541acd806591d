"""What a user asks to be stored as permissions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import UNSET, Struct, UnsetType

from gobbler.model.records import Permissions, Uploader

AnyUploader = Uploader | Mapping[str, object]
"""An uploader's entry. A mapping is sent as it is: the service tells what is wrong with it."""


class NewPermissions(Struct, frozen=True):
    """What is to be stored; what is ``UNSET`` stays as it is."""

    owners: tuple[str, ...] | UnsetType = UNSET
    uploaders: tuple[AnyUploader, ...] | UnsetType = UNSET
    global_write: bool | UnsetType = UNSET


def new_permissions(
    owners: Sequence[str] | None,
    uploaders: Sequence[AnyUploader] | None,
    global_write: bool | None = None,
) -> NewPermissions:
    """What is given, where ``None`` means: not."""
    return NewPermissions(
        UNSET if owners is None else tuple(owners),
        UNSET if uploaders is None else tuple(uploaders),
        UNSET if global_write is None else global_write,
    )


def appended(stored: Permissions, new: NewPermissions) -> NewPermissions:
    """``new`` with what is stored before it: owners once each, uploaders as they come."""
    owners, uploaders = new.owners, new.uploaders
    if owners is not UNSET:
        owners = tuple(dict.fromkeys((*stored.owners, *owners)))
    if uploaders is not UNSET:
        uploaders = (*stored.uploaders, *uploaders)
    return NewPermissions(owners, uploaders, new.global_write)
