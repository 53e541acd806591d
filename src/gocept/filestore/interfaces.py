"""The interface of a store.

With ``zope.interface`` installed, ``IFileStore`` is one of its interfaces, which
:class:`~gocept.filestore.filestore.FileStore` provides. Otherwise it is a protocol.
"""

from __future__ import annotations

import importlib
import os
from typing import IO, Any, Protocol, TypeVar

C = TypeVar("C", bound=type)

Path = str | os.PathLike[str]


class Store(Protocol):
    """Files in three spaces: ``tmp`` (being written), ``new`` (waiting), ``cur`` (claimed)."""

    def prepare(self) -> None:
        """Make the missing directories."""

    def create(self, filename: Path, mode: str = "w") -> IO[Any]:
        """Open a file in ``tmp``; the caller closes it."""

    def list(self, space: str) -> list[str]:
        """Return the full paths of the files in ``space``."""

    def move(self, filename: Path, source: str, destination: str) -> None:
        """Move a file from one space to another, atomically."""

    def copy(self, filename: Path, source: str, destination: str) -> None:
        """Copy a file from one space to another."""

    def remove(self, filename: Path, space: str) -> None:
        """Delete a file from ``space``."""


def _zope() -> Any:  # noqa: ANN401 - a module that may not be installed
    try:
        return importlib.import_module("zope.interface")
    except ImportError:
        return None


def _interface() -> Any:  # noqa: ANN401 - an interface of zope, or a protocol
    zope = _zope()
    if zope is None:
        return Store
    # The methods of an interface have no `self`, which no type checker understands.
    methods = {
        name: zope.interface.fromMethod(method, name=name)
        for name, method in vars(Store).items()
        if callable(method) and not name.startswith("_")
    }
    return zope.interface.InterfaceClass(
        "IFileStore", (zope.Interface,), methods, Store.__doc__, __name__
    )


IFileStore = _interface()


def declare(cls: C) -> C:
    """Declare that ``cls`` provides ``IFileStore``, if ``zope.interface`` is installed."""
    zope = _zope()
    if zope is not None:
        zope.classImplements(cls, IFileStore)
    return cls
