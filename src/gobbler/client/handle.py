"""What projects, assets and versions have in common: an address."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from gobbler.client import errors
from gobbler.client.registry_reader import RegistryReader
from gobbler.errors import Refused, printable
from gobbler.model.names import check_name


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
        return printable(f"<{type(self).__name__} {self._address} at {self._reader.connection}>")

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
        raise errors.RequestRefused(error.reason, code=error.code, hint=error.hint) from None


class _Named(Protocol):
    @property
    def name(self) -> str: ...


def names_of(handles: Iterable[_Named]) -> list[str]:
    """The bare names of some projects, assets or versions."""
    return [handle.name for handle in handles]


def html_of(thing: object, what: object, connection: object, *facts: str) -> str:
    """The HTML of ``thing`` for a notebook: escapes all text, and reads nothing."""
    import html

    lines = [f"<b>{type(thing).__name__}</b> <code>{html.escape(printable(str(what)))}</code>"]
    lines.append(f"at <code>{html.escape(printable(str(connection)))}</code>")
    lines += [html.escape(printable(fact)) for fact in facts]
    return "<div>" + "<br>".join(lines) + "</div>"
