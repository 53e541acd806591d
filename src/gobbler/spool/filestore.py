"""Files that many processes hand on to each other without locks.

::

    {path}/
        tmp/    being written; nobody else looks
        new/    complete, waiting for whoever comes first
        cur/    taken by one process

A file goes from one space to the next by one rename, so it is seen whole or not at all,
and of several processes that want to take it exactly one succeeds.
"""

from __future__ import annotations

import builtins
import os
import secrets
import shutil
from typing import IO, Any

Path = str | os.PathLike[str]


class FileStore:
    """A store in the directory ``path``; nothing is made before :meth:`prepare`.

    Names that would lead out of the store are ``ValueError``. Whatever the operating
    system says comes as ``OSError``: ``FileNotFoundError`` from :meth:`move` means that
    another process was faster.
    """

    sub_dirs = ("tmp", "new", "cur")

    def __init__(self, path: Path) -> None:
        self.path = path

    def prepare(self) -> None:
        """Make the directory (one level) and its spaces, where they are missing."""
        for directory in (os.fspath(self.path), *map(self._space, self.sub_dirs)):
            try:
                os.mkdir(directory)
            except FileExistsError:
                if not os.path.isdir(directory):
                    raise

    def create(self, filename: Path, mode: str = "w") -> IO[Any]:
        """A file in ``tmp``, opened with ``mode``; the caller closes it.

        Two writers of the same name get the same file, so names should be unique.
        """
        return open(self._file("tmp", filename), mode)

    def list(self, space: str) -> builtins.list[str]:
        """Full paths of all files in ``space``, in order of name."""
        directory = self._space(space)
        return [os.path.join(directory, name) for name in sorted(os.listdir(directory))]

    def move(self, filename: Path, source: str, destination: str) -> None:
        """Move a file from one space to another, atomically.

        Leading directories of ``filename`` don't matter, so it may come from :meth:`list`.
        A file of that name in ``destination`` is replaced. Raises ``FileNotFoundError``
        if the file is not in ``source`` (any more).
        """
        name = os.path.basename(filename)
        os.rename(self._file(source, name), self._file(destination, name))

    def copy(self, filename: Path, source: str, destination: str) -> None:
        """Copy a file from one space to another.

        Like :meth:`move` with regard to the names; a reader of ``destination`` never sees
        half of the copy.
        """
        name = os.path.basename(filename)
        target = self._file(destination, name)
        # A short name, so that the longest possible one can be copied, too.
        beside = self._file("tmp", f".copy-{secrets.token_hex(8)}")
        try:
            shutil.copy(self._file(source, name), beside)
            os.rename(beside, target)
        except BaseException:
            if os.path.lexists(beside):
                os.unlink(beside)
            raise

    def remove(self, filename: Path, space: str) -> None:
        """Delete a file from ``space``; ``filename`` may come from :meth:`list`."""
        os.remove(self._file(space, filename))

    def _space(self, space: str) -> str:
        if space not in self.sub_dirs:
            raise ValueError(f"{space!r} is none of the spaces of a store: {self.sub_dirs}")
        return os.path.join(self.path, space)

    def _file(self, space: str, filename: Path) -> str:
        """The path of a file in ``space``, given its name or that very path."""
        directory = self._space(space)
        given = os.fspath(filename)
        name = given.removeprefix(os.path.join(directory, ""))
        if name in ("", os.curdir, os.pardir) or os.path.basename(name) != name:
            raise ValueError(f"{given!r} is not the name of a file in {directory!r}")
        return os.path.join(directory, name)


# The class is older than this package; its name in reprs and pickles stays what it was.
FileStore.__module__ = "gocept.filestore.filestore"
