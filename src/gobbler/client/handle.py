"""What projects, assets and versions have in common: an address, and permissions."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from msgspec import UNSET, Struct, UnsetType

from gobbler.client import source
from gobbler.client.connection import Connection
from gobbler.client.errors import RequestRefused
from gobbler.client.registry_reader import RegistryReader
from gobbler.errors import Refused
from gobbler.model.names import check_name
from gobbler.model.records import Permissions, Uploader


class Handle:
    """Names something in a registry; only methods read it.

    ``str()`` returns its address. Two handles are equal if they have the same address in the
    registry of equal connections, even if they do not exist. A handle can be pickled and copied.
    """

    def __init__(self, reader: RegistryReader, address: str) -> None:
        self._reader = reader
        self._address = address

    def __str__(self) -> str:
        return self._address

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._address} at {self._reader.connection}>"

    def _repr_html_(self) -> str:
        return html_of(self, self._address, self._reader.connection)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Handle)
            and type(self) is type(other)
            and self._address == other._address
            and self._reader.connection == other._reader.connection
        )

    def __hash__(self) -> int:
        return hash((type(self), self._address))

    def __bool__(self) -> bool:
        # A collection is false if it is empty, but to know that it would have to be read.
        return True


def checked_name(what: str, name: str) -> str:
    """``name``, if it is valid for a project, asset or version (``what``).

    Raises :class:`~gobbler.client.errors.RequestRefused`, as the service would.
    """
    try:
        return check_name(what, name)
    except Refused as error:
        raise RequestRefused(error.reason, code=error.code, hint=error.hint) from None


class _Named(Protocol):
    @property
    def name(self) -> str: ...


def names_of(handles: Iterable[_Named]) -> list[str]:
    """The bare names of some projects, assets or versions."""
    return [handle.name for handle in handles]


def html_of(thing: object, what: object, connection: object, *facts: str) -> str:
    """The HTML of ``thing`` for a notebook: escapes all text, and reads nothing."""
    lines = [f"<b>{type(thing).__name__}</b> <code>{html.escape(str(what))}</code>"]
    lines.append(f"at <code>{html.escape(str(connection))}</code>")
    lines += [html.escape(fact) for fact in facts]
    return "<div>" + "<br>".join(lines) + "</div>"


AnyUploader = Uploader | Mapping[str, object]
"""An uploader's entry. A mapping is sent as it is; the service checks it."""


class NewPermissions(Struct, frozen=True):
    """The permissions to be stored; ``UNSET`` fields keep their values."""

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
