"""Files that many processes hand on to each other without locks.

::

    {path}/
        tmp/    being written; nobody else looks
        new/    complete, waiting for whoever comes first
        cur/    taken by one process

A file goes from one space to the next by one rename, so it is seen whole or not at all,
and of several processes that want to take it exactly one succeeds. What that is worth when
processes are slow or die, is told in :mod:`gobbler.filestore.claim`.
"""

from __future__ import annotations

import builtins
import os
import secrets
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from gobbler.filestore import names as naming
from gobbler.filestore.claim import Claim, Claims
from gobbler.filestore.place import flush_directories, flush_file, place
from gobbler.filestore.requeue import requeue
from gobbler.filestore.watch import watch
from gobbler.fs.atomic_write import remove_quietly
from gobbler.fs.lease import SILENCE

Path = str | os.PathLike[str]


class FileStore:
    """A store in the directory ``path``; nothing is made before :meth:`prepare`.

    Names that would lead out of the store are ``ValueError``. Whatever the operating
    system says comes as ``OSError``: ``FileNotFoundError`` from :meth:`move` means that
    another process was faster. May be used by several threads, and be pickled.
    """

    sub_dirs = ("tmp", "new", "cur")

    _claims: Claims | None = None

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

    def create(self, filename: Path | None = None, mode: str = "w") -> IO[Any]:
        """A file in ``tmp``, opened with ``mode``; the caller closes it.

        Without ``filename`` it gets a name that no other file has. Two writers of one
        given name get the same file.
        """
        name = naming.unique_name() if filename is None else filename
        only_new = os.O_EXCL if filename is None else 0

        def opener(path: str, flags: int) -> int:
            # Where others may write in tmp, they may have put a link or a FIFO there.
            return os.open(path, flags | only_new | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)

        return open(self._file("tmp", name), mode, opener=opener)

    @contextmanager
    def publish(
        self,
        filename: Path | None = None,
        mode: str = "w",
        *,
        replace: bool = False,
        durable: bool = False,
    ) -> Iterator[IO[Any]]:
        """A file to be written in the block: in ``new`` after its end, gone if that raises.

        Without ``filename`` it gets a name that no other file has, the last part of the
        file's ``name``. With it, ``FileExistsError`` is raised at the end if such a file
        waits, unless it may ``replace`` that. ``durable`` as for :meth:`move`.
        """
        target = None if filename is None else self._file("new", filename)
        with self.create(None, mode) as file:
            source = os.fspath(file.name)
            try:
                yield file
                file.close()
                if durable:
                    flush_file(source)
                if target is None:
                    target = self._file("new", os.path.basename(source))
                    os.rename(source, target)
                else:
                    place(source, target, replace=replace, may_link=True)
            except BaseException:
                remove_quietly(source)
                raise
        if durable:
            flush_directories(source, target)

    def list(self, space: str) -> builtins.list[str]:
        """Full paths of all files in ``space``, in order of name."""
        directory = self._space(space)
        # That by which a claimant shows that it lives is no file of the store.
        names = (name for name in os.listdir(directory) if not naming.recorded(name))
        return [os.path.join(directory, name) for name in sorted(names)]

    def move(
        self,
        filename: Path,
        source: str,
        destination: str,
        *,
        replace: bool = True,
        durable: bool = False,
    ) -> None:
        """Move a file from one space to another, atomically.

        Leading directories of ``filename`` don't matter, so it may come from :meth:`list`.
        Raises ``FileNotFoundError`` if the file is not in ``source`` (any more). A file of
        that name in ``destination`` is replaced; with ``replace=False`` this raises
        ``FileExistsError`` instead (``OSError`` with ``EOPNOTSUPP`` on filesystems that
        can't, if ``source`` is not ``tmp``).

        ``durable``: the file and its new name are on disk when this returns, and survive a
        power cut. If only the latter fails, ``OSError`` is raised, but the file *is* moved.
        """
        name = os.path.basename(filename)
        before, after = self._file(source, name), self._file(destination, name)
        if durable:
            flush_file(before)
        place(before, after, replace=replace, may_link=source == "tmp")
        if durable:
            flush_directories(before, after)

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
            remove_quietly(beside)
            raise

    def remove(self, filename: Path, space: str) -> None:
        """Delete a file from ``space``; ``filename`` may come from :meth:`list`."""
        os.remove(self._file(space, filename))

    def claim(self, filename: Path | None = None) -> Claim | None:
        """Take a waiting file, or the one that is named; ``None`` if others were faster.

        Leading directories of ``filename`` don't matter. Without it the files come in
        order of name as long as nobody else claims, hidden ones (``.*``) and those that
        can't be renamed are passed over, and ``None`` means that nothing waited. With it,
        ``OSError`` tells why an existing file can't be renamed; names of more than
        :data:`gobbler.filestore.names.LONGEST` bytes can't.

        In ``cur`` the file has a name of its own, see :class:`~gobbler.filestore.claim.Claim`.
        """
        claims = self._our_claims()
        if filename is None:
            return claims.any()
        return claims.one(os.path.basename(self._file("new", os.path.basename(filename))))

    def requeue(self, *, silence: float = SILENCE) -> builtins.list[str]:
        """Put what dead claimants had back into ``new``; the names that it was published by.

        A claimant is dead when its process is gone; if neither a lock nor the kernel can
        tell (it is on another host), when it gave no sign of life for ``silence`` seconds
        of the filesystem's time. A file whose published name is taken meanwhile gets a mark
        behind it, which the next claim strips. Files that came to ``cur`` by :meth:`move`
        or ``mv`` stay. What can't be put back for a reason of its own is logged, and stays.
        """
        claimant = self._our_claims().claimant
        return requeue(self._space("new"), self._space("cur"), claimant.now, silence)

    def watch(
        self, *, poll: float | None = None, stop: threading.Event | None = None
    ) -> Iterator[str]:
        """Yield the path of each file in ``new``: those that wait, then what comes; for ever.

        A path comes again only if a file is put there anew. Others may have been faster:
        :meth:`claim` tells. Hidden files (``.*``) are left out. Changes are heard of at once
        (inotify) on local filesystems; on others, to which inotify does not tell what other
        hosts do, they are looked for every second, or every ``poll`` seconds if given.
        Ends soon after ``stop`` has been set.
        """
        return watch(self._space("new"), poll, stop)

    def _our_claims(self) -> Claims:
        found = self._claims
        if found is None or found.claimant.pid != os.getpid():
            found = self._claims = Claims(self._space("new"), self._space("cur"))
        return found

    def __getstate__(self) -> dict[str, object]:
        # What this process has claimed does not go with a pickle.
        return {key: value for key, value in self.__dict__.items() if key != "_claims"}

    def _space(self, space: str) -> str:
        if space not in self.sub_dirs:
            raise ValueError(f"{space!r} is none of the spaces of a store: {self.sub_dirs}")
        return os.path.join(self.path, space)

    def _file(self, space: str, filename: Path) -> str:
        """The path of a file in ``space``, given its name or that very path."""
        directory = self._space(space)
        return os.path.join(directory, naming.checked(filename, directory))


# The class is older than this package; its name in reprs and pickles stays what it was.
FileStore.__module__ = "gocept.filestore.filestore"
