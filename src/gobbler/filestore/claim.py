"""Claims: a waiting file becomes one process's, and nobody else's, by one rename.

::

    new/{name}  --rename-->  cur/{name}~{claimant}-{number}

The target names who claims, and never was before (:mod:`gobbler.filestore.names`). What
follows from that, whoever is slow, stopped or killed between any two calls:

*Two claim at once.* Both rename the same source; the kernel lets one succeed. The other
gets ``ENOENT`` and goes on to the next file.

*The claimant is killed.* Before the rename the file waits in ``new``; after it, its name
tells whose it is, and that claimant's record, locked since before, is there to be asked.
There is no moment in which it is claimed by nobody known.

*Several put back what a dead one had.* Again a rename of one source: one succeeds.

*One is about to put back a file, and sleeps; meanwhile another put it back, and a third
claimed it.* The third's claim has another name: the sleeper's rename finds nothing.

*The claimant is alive, but was held for dead* (stopped for longer than the silence that is
allowed, where its lock can't be seen). The file was put back, and may be claimed anew, under
another name. What the slow one does next with its claim finds nothing: :class:`ClaimLost`.

*The same name is published anew while it is claimed.* Both stand in ``cur``, apart.

A lock on the claimed file itself would not do: whoever can read a file can hold a lock on
it, so its owner could keep it from being claimed, or a dead claim alive; links and FIFOs
can't be locked; and some network filesystems lock only what one may write.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import deque
from contextlib import suppress
from io import FileIO
from random import randrange
from types import TracebackType
from typing import IO, Any

from gobbler.filestore import names as naming
from gobbler.filestore.claimant import Claimant
from gobbler.fs.open import READ, exists, kind_of
from gobbler.fs.rename import NoReplaceUnsupported, rename_new

_SPREAD = 16

ABOUT_THE_FILE = (
    errno.EACCES,
    errno.EPERM,
    errno.EBUSY,
    errno.EXDEV,
    errno.ENAMETOOLONG,
    errno.ENOTEMPTY,
)
"""Why one file can't be renamed though others can: e.g. another user's directory."""


class ClaimLost(FileNotFoundError):
    """The file is not under the claim any more: it was put back, or removed, by others."""


class Claim:
    """A file that this process has claimed, until it is done or released.

    ``name`` is the one under which it was published, ``path`` where it stands now, in
    ``cur``. As a context manager: done at the end of the block, released when an exception
    leaves it. If the process dies, others can put it back (``FileStore.requeue``).
    """

    def __init__(self, path: str, new: str, claimant: Claimant) -> None:
        self.path = path
        self.name = naming.original(os.path.basename(path))
        self._new = new
        self._claimant = claimant  # lives as long as its claims
        self._opened: FileIO | None = None  # closes itself if the claim is forgotten
        self._settled = False

    @property
    def descriptor(self) -> int:
        """The file, open for reading; closed when the claim is done or released.

        It was opened without following a link or waiting for a FIFO. Raises ``ValueError``
        if it is no regular file, ``OSError`` if it can't be opened.
        """
        if self._opened is None:
            self._opened = FileIO(self._open(READ))
        return self._opened.fileno()

    def open(self, mode: str = "r", encoding: str | None = None) -> IO[Any]:
        """Open the file as ``open`` does; the caller closes it. Raises as :attr:`descriptor`."""
        safely = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

        def opener(_: str, flags: int) -> int:
            return self._open(flags & ~os.O_CREAT | safely)

        return open(self.path, mode, encoding=encoding, opener=opener)

    def is_held(self) -> bool:
        """Whether the file is still ours: for a look before what can't be taken back."""
        return not self._settled and exists(self.path)

    def done(self, to: str | os.PathLike[str] | None = None) -> None:
        """End the claim: remove the file, or rename it to the path ``to``.

        ``to`` is on the same filesystem; a file there is replaced. Raises
        :class:`ClaimLost` if the file is not ours any more.
        """
        self._close()  # a network filesystem keeps what is open under another name
        try:
            if to is None:
                os.unlink(self.path)
            else:
                os.rename(self.path, to)
        except FileNotFoundError as error:
            if to is not None and exists(self.path):
                raise  # it is the target's directory that is missing
            raise self._lost() from error
        self._settle()

    def release(self) -> None:
        """End the claim by putting the file back into ``new``, for whoever comes next.

        Raises :class:`ClaimLost` if it is not ours any more.
        """
        self._close()
        if not put_back(self.path, self._new):
            raise self._lost()
        self._settle()

    def __enter__(self) -> Claim:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._settled:
            return
        if kind is None:
            self.done()
        else:
            with suppress(ClaimLost):
                self.release()

    def __repr__(self) -> str:
        return f"<Claim of {self.name!r}: {self.path}>"

    def _open(self, flags: int) -> int:
        # To open a device can have effects of its own, so it is not even opened.
        self._check(os.lstat(self.path))
        descriptor = os.open(self.path, flags)
        try:
            self._check(os.fstat(descriptor))
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _check(self, status: os.stat_result) -> None:
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(f"{self.path!r} is {kind_of(status.st_mode)}, not a regular file")

    def _lost(self) -> ClaimLost:
        self._settle()
        return ClaimLost(errno.ENOENT, "the claim of this file was lost", self.path)

    def _settle(self) -> None:
        self._settled = True
        self._close()

    def _close(self) -> None:
        if self._opened is not None:
            self._opened.close()
            self._opened = None


class Claims:
    """Makes the claims of one process in one store, whose spaces are ``new`` and ``cur``."""

    def __init__(self, new: str, cur: str) -> None:
        self._new = new
        self._cur = cur
        self.claimant = Claimant(cur)
        self._waiting: deque[str] = deque()

    def one(self, name: str) -> Claim | None:
        """Claim the file ``name`` in ``new``; ``None`` if it is not there (any more)."""
        if len(os.fsencode(naming.original(name))) > naming.LONGEST:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), name)
        claimant = self.claimant
        path = self._taken(os.path.join(self._new, name), claimant)
        while path is not None and not claimant.is_known():
            # It was given up for dead while it slept, and the others don't know it any more.
            claimant = self.claimant = Claimant(self._cur)
            path = self._taken(path, claimant)
        return None if path is None else Claim(path, self._new, claimant)

    def any(self) -> Claim | None:
        """Claim a waiting file; ``None`` if none was waiting at a moment during the call."""
        return self._any_of(self._waiting) or self._any_of(self._look())

    def _look(self) -> deque[str]:
        names = sorted(name for name in os.listdir(self._new) if not naming.is_hidden(name))
        self._waiting = deque(names)
        return self._waiting

    def _any_of(self, waiting: deque[str]) -> Claim | None:
        with suppress(IndexError):  # another thread took the last
            while waiting:
                if (claim := self._passing_over(waiting.popleft())) is not None:
                    return claim
                # Somebody else goes through the same list: not step by step beside them.
                waiting.rotate(-randrange(_SPREAD))  # noqa: S311 - no secret depends on it
        return None

    def _passing_over(self, name: str) -> Claim | None:
        try:
            return self.one(name)
        except OSError as error:
            if error.errno in ABOUT_THE_FILE:
                return None
            raise

    def _taken(self, source: str, claimant: Claimant) -> str | None:
        name = naming.claimed(os.path.basename(source), claimant.id, claimant.next_number())
        path = os.path.join(self._cur, name)
        try:
            os.rename(source, path)
        except FileNotFoundError:
            # A network filesystem that asks its server twice is told so of its own success.
            return path if exists(path) else None
        return path


def put_back(path: str, new: str) -> bool:
    """Rename a claimed file from ``cur`` into the directory ``new``; whether it was there.

    It gets the name back under which it was published. Where that is taken, or where the
    filesystem can't tell without a race, it gets a mark that nobody could foresee.
    """
    name = os.path.basename(path)
    try:
        try:
            rename_new(path, os.path.join(new, naming.original(name)))
        except (FileExistsError, NoReplaceUnsupported):
            os.rename(path, os.path.join(new, naming.marked(name)))
    except FileNotFoundError:
        return False
    return True
