"""A store: a directory with three spaces, between which processes move files without locks.

::

    {path}/
        tmp/    being written; no other process reads it
        new/    complete, waiting to be claimed
        cur/    claimed by one process

A file moves from one space to the next by one rename, so a reader sees it whole or not at all,
and of several processes that want it exactly one succeeds. :mod:`gobbler.filestore.claim` shows
why that holds when processes are slow or die.

A file that no process can take goes to a fourth directory, ``aside``; see
:mod:`gobbler.filestore.aside`.
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

from gobbler.errors import Misconfigured
from gobbler.filestore import names as naming
from gobbler.filestore.claim import Claim, StoreClaims
from gobbler.filestore.requeue import requeue
from gobbler.filestore.watch import watch
from gobbler.fs.atomic_write import NoReplaceUnsupported, remove_quietly, rename_new
from gobbler.fs.flush import Durability, flush_directory
from gobbler.fs.lease import EXPIRY_SECONDS
from gobbler.fs.open import READ
from gobbler.fs.os_errors import with_path
from gobbler.fs.umask import ADVICE, umask_problem

Path = str | os.PathLike[str]


class FileStore:
    """A store in the directory ``path``; :meth:`prepare` makes its directories.

    Names that lead out of the store raise ``ValueError``. Errors of the operating system are
    ``OSError``: ``FileNotFoundError`` from :meth:`move` means that another process was faster.
    A store may be used by several threads, and be pickled.
    """

    sub_dirs = ("tmp", "new", "cur")

    _claims: StoreClaims | None = None

    def __init__(self, path: Path) -> None:
        self.path = path

    def prepare(self) -> None:
        """Make the directory (one level) and its spaces, where they are missing.

        Raises :class:`~gobbler.errors.Misconfigured` if the umask of this process takes rights
        from the owner of what is created: then no space, and no file in it, could be used.
        """
        if (problem := umask_problem()) is not None:
            raise Misconfigured(problem, hint=ADVICE)
        for directory in (os.fspath(self.path), *map(self._space, self.sub_dirs)):
            try:
                os.mkdir(directory)
            except FileExistsError:
                if not os.path.isdir(directory):
                    raise

    def create(self, filename: Path | None = None, mode: str = "w") -> IO[Any]:
        """Open a file in ``tmp`` with ``mode``; the caller closes it.

        Without ``filename`` it gets a unique name. Two writers that give one name write to the
        same file.
        """
        name = naming.unique_name() if filename is None else filename
        only_new = os.O_EXCL if filename is None else 0

        def opener(path: str, flags: int) -> int:
            # Where others may write in tmp, they may put a link or a FIFO there.
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
        """Write a file in the block; at its end the file is in ``new``. An error removes it.

        Without ``filename`` the file gets a unique name, the last part of its ``name``. With it,
        the end of the block raises ``FileExistsError`` if such a file is waiting, unless
        ``replace`` is set. ``durable`` as for :meth:`move`. Raises ``OSError`` (``ENAMETOOLONG``)
        for a name that can't be claimed: of more than :data:`gobbler.filestore.names.LONGEST`
        bytes.
        """
        target = None
        if filename is not None:
            target = self._file("new", filename)
            naming.check_length(os.path.basename(target))
        with self.create(None, mode) as file:
            source = os.fspath(file.name)
            try:
                yield file
                file.close()
                if durable:
                    _flush_file(source)
                if target is None:
                    target = self._file("new", os.path.basename(source))
                    os.rename(source, target)
                else:
                    _move(source, target, replace=replace, may_link=True)
            except BaseException:
                remove_quietly(source)
                raise
        if durable:
            _flush_move(source, target)

    def list(self, space: str) -> builtins.list[str]:
        """The full paths of all files in ``space``, in order of name."""
        directory = self._space(space)
        names = (name for name in os.listdir(directory) if not naming.claimant_of_lease(name))
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

        Leading directories of ``filename`` are ignored, so it may come from :meth:`list`.
        Raises ``FileNotFoundError`` if the file is not in ``source`` (any more). A file of
        that name in ``destination`` is replaced; with ``replace=False`` this raises
        ``FileExistsError`` instead (``OSError`` with ``EOPNOTSUPP`` on filesystems that
        can't, if ``source`` is not ``tmp``).

        ``durable``: the file and its new name are on disk when this returns, and survive a
        power cut. If only the flush of the name fails, ``OSError`` is raised, but the file *is*
        moved.
        """
        name = os.path.basename(filename)
        before, after = self._file(source, name), self._file(destination, name)
        if durable:
            _flush_file(before)
        _move(before, after, replace=replace, may_link=source == "tmp")
        if durable:
            _flush_move(before, after)

    def copy(self, filename: Path, source: str, destination: str) -> None:
        """Copy a file from one space to another.

        Names are treated as by :meth:`move`. A reader of ``destination`` never sees a part of
        the copy.
        """
        name = os.path.basename(filename)
        target = self._file(destination, name)
        # A short name, so that a file with the longest possible name can be copied, too.
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
        """Claim the file ``filename``, or any waiting file; ``None`` if others were faster.

        Leading directories of ``filename`` are ignored. Without ``filename``, files come in
        order of name as long as one process claims; hidden files (``.*``) are skipped, and
        ``None`` means that no file was waiting.

        What no process can handle is set aside, with a warning in the log: whatever is no regular
        file, can't be read, or has a name of more than :data:`gobbler.filestore.names.LONGEST`
        bytes. It counts as if it were not there. So does what can't be moved. ``OSError`` means
        that the store does not work.

        In ``cur`` the file has a unique name, see :class:`~gobbler.filestore.claim.Claim`.
        """
        claims = self._our_claims()
        if filename is None:
            return claims.claim_any()
        return claims.claim(os.path.basename(self._file("new", os.path.basename(filename))))

    def requeue(self, *, silence: float = EXPIRY_SECONDS) -> builtins.list[str]:
        """Put the files of dead claimants back into ``new``; their published names.

        A claimant is dead when its process has ended. If neither a lock nor the kernel can show
        that, because the process is on another host, it counts as dead after ``silence`` seconds
        without renewal, by the clock of the filesystem. A file whose published name is taken gets a
        unique name, which the next claim strips. Files that came to ``cur`` by :meth:`move` or
        ``mv`` stay. A file that can't be put back stays, with a warning in the log, and so does
        what is no lease but has the name of one.
        """
        claimant = self._our_claims().claimant
        return requeue(self._space("new"), self._space("cur"), claimant.now, silence)

    def watch(
        self,
        *,
        poll: float | None = None,
        stop: threading.Event | None = None,
        requeue: float | None = None,
    ) -> Iterator[str]:
        """Yield the path of each file in ``new``: the waiting ones, then new ones, for ever.

        Yields a path again only for a new file. Another process may be faster: :meth:`claim`
        returns ``None`` then. Hidden files (``.*``) are left out. Local filesystems report changes
        at once (inotify). Others are listed every second, as inotify does not report what other
        hosts do, or every ``poll`` seconds if given. Ends soon after ``stop`` has been set.

        With ``requeue``, it first calls :meth:`requeue`, and again whenever that many seconds have
        passed, so that a worker also handles the files of processes that die meanwhile.
        """
        return watch(self._space("new"), poll, stop, self.requeue, requeue)

    def _our_claims(self) -> StoreClaims:
        found = self._claims
        if found is None or found.claimant.pid != os.getpid():
            found = self._claims = StoreClaims(self._space("new"), self._space("cur"))
        return found

    def __getstate__(self) -> dict[str, object]:
        # The claims of this process are not pickled.
        return {key: value for key, value in self.__dict__.items() if key != "_claims"}

    def _space(self, space: str) -> str:
        if space not in self.sub_dirs:
            raise ValueError(f"{space!r} is none of the spaces of a store: {self.sub_dirs}")
        return os.path.join(self.path, space)

    def _file(self, space: str, filename: Path) -> str:
        """The path of a file in ``space``, given as its name or as that path."""
        directory = self._space(space)
        return os.path.join(directory, naming.checked_name(filename, directory))


def _move(source: str, target: str, *, replace: bool, may_link: bool) -> None:
    """Rename ``source`` to ``target``; only with ``replace`` may ``target`` exist.

    If the filesystem can't rename without replacing, ``may_link`` allows this to link the file to
    its new name, and then unlink the old one. In that case no other process may move ``source``,
    since both could succeed. A kill between the two calls leaves both names.
    """
    if replace:
        os.rename(source, target)
        return
    try:
        rename_new(source, target)
    except NoReplaceUnsupported:
        if not may_link:
            raise
        os.link(source, target, follow_symlinks=False)
        os.unlink(source)


def _flush_file(path: str) -> None:
    """Flush the content of a file. Follows no link, and does not wait for a FIFO."""
    descriptor = os.open(path, READ)
    try:
        with with_path(path):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _flush_move(source: str, target: str) -> None:
    """Flush a rename: first the new name, so that the file has a name on disk at any time."""
    for path in (target, source):
        flush_directory(os.path.dirname(path), Durability.FULL)


# The class is older than this package: reprs and pickles keep its first name.
FileStore.__module__ = "gocept.filestore.filestore"
