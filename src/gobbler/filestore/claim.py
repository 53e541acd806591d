"""StoreClaims: one rename gives a waiting file to one process, and to no other.

::

    new/{name}  --rename-->  cur/{name}~{claimant}-{number}

The new name contains the claimant, and never existed before (:mod:`gobbler.filestore.names`).
Therefore, whichever process is slow, stopped or killed between any two calls:

*Two processes claim at once.* Both rename the same source; the kernel lets one succeed. The other
gets ``ENOENT``, and tries the next file.

*The claimant is killed.* Before the rename, the file waits in ``new``. After it, the name of the
file leads to the claimant's lease, which existed before the rename.

*Several processes put a file back.* Again they rename one source, and one succeeds.

*A process is about to put a file back, and sleeps; meanwhile another process puts the file back,
and a third one claims it.* The third one's claim has another name, so the sleeper finds nothing
to rename.

*A living claimant is taken for dead* (it was stopped for longer than the silence that is
allowed, and its lock can't be seen). Its file was put back, and may be claimed again, under
another name. The next call of the slow claimant finds nothing: :class:`ClaimLost`.

*A name is published again while it is claimed.* Both files stand in ``cur``, with different names.

A lock on the claimed file itself does not work. Every process that can read a file can lock it,
so the owner of the file could prevent a claim, or keep a dead claim alive. Links and FIFOs can't
be locked, and some network filesystems lock only files that one may write.
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
from gobbler.filestore.aside import Aside, problem_of
from gobbler.filestore.claimant import Claimant
from gobbler.fs.atomic_write import NoReplaceUnsupported, rename_new
from gobbler.fs.open import READ, exists, kind_of

_SPREAD = 16
"""Number of files among which concurrent claimants choose at random."""

FILE_ERRORS = (
    errno.EACCES,
    errno.EPERM,
    errno.EBUSY,
    errno.EXDEV,
    errno.ENAMETOOLONG,
    errno.ENOTEMPTY,
)
"""Errors of a rename that concern one file, e.g. another user's directory, and not the store."""


class ClaimLost(FileNotFoundError):
    """The claim has ended: another process put the file back, or removed it.

    In a forked process: the claim belongs to its parent.
    """


class Claim:
    """A file that this process has claimed, until it is done or released.

    ``name`` is the published name, ``path`` the present path of the file, in ``cur``. As a context
    manager it is done at the end of the block, and released if the block raises. If the process
    dies, another one can put the file back (``FileStore.requeue``). In a forked process the claim
    does nothing: it belongs to the process that made it.
    """

    def __init__(self, path: str, new: str, claimant: Claimant, aside: Aside) -> None:
        self.path = path
        self.name = naming.published_name(os.path.basename(path))
        self._new = new
        self._aside = aside
        self._claimant = claimant  # lives as long as its claims
        self._opened: FileIO | None = None  # closes itself if the claim is forgotten
        self._ended = False

    @property
    def descriptor(self) -> int:
        """The file, open for reading; closed when the claim is done or released.

        Follows no link and does not wait for a FIFO. Raises ``ValueError`` if it is no regular
        file, ``OSError`` if it can't be opened.
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
        """Whether the claim still stands. Check it before a step that can't be undone."""
        return not self._ended and self._claimant.is_ours() and exists(self.path)

    def done(self, to: str | os.PathLike[str] | None = None) -> None:
        """End the claim: remove the file, or rename it to the path ``to``.

        ``to`` is on the same filesystem; a file there is replaced. Raises :class:`ClaimLost` if
        the claim has ended.
        """
        self._check_ours()
        self._close()  # a network filesystem keeps an open file under another name
        try:
            if to is None:
                os.unlink(self.path)
            else:
                os.rename(self.path, to)
        except FileNotFoundError as error:
            if to is not None and exists(self.path):
                raise  # the directory of the target is missing
            raise self._lost() from error
        self._end()

    def release(self) -> None:
        """End the claim by putting the file back into ``new``, for the next claim.

        Raises :class:`ClaimLost` if the claim has ended.
        """
        self._check_ours()
        self._close()
        if not put_back(self.path, self._new):
            raise self._lost()
        self._end()

    def set_aside(self, reason: str) -> None:
        """End the claim by moving the file to ``aside``, where no process claims it any more.

        The log tells the ``reason``. Raises :class:`ClaimLost` if the claim has ended, and
        ``OSError`` if the file can't be moved; it is still claimed then.
        """
        self._check_ours()
        self._close()
        if not exists(self.path):
            raise self._lost()
        if not self._aside.put(self.path, reason):
            raise OSError(errno.EACCES, "the file can't be set aside", self.path)
        self._end()

    def __enter__(self) -> Claim:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._ended or not self._claimant.is_ours():
            return
        if kind is None:
            self.done()
        else:
            with suppress(ClaimLost):
                self.release()

    def __repr__(self) -> str:
        return f"<Claim of {self.name!r}: {self.path}>"

    def _open(self, flags: int) -> int:
        # Opening a device can have effects of its own, so its kind is checked first.
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

    def _check_ours(self) -> None:
        if not self._claimant.is_ours():
            raise ClaimLost(
                errno.ENOENT, "this claim belongs to the process that made it", self.path
            )

    def _lost(self) -> ClaimLost:
        self._end()
        return ClaimLost(errno.ENOENT, "the claim of this file was lost", self.path)

    def _end(self) -> None:
        self._ended = True
        self._close()

    def _close(self) -> None:
        if self._opened is not None:
            self._opened.close()
            self._opened = None


class StoreClaims:
    """Makes the claims of one process in one store, whose spaces are ``new`` and ``cur``."""

    def __init__(self, new: str, cur: str) -> None:
        self._new = new
        self._cur = cur
        self.claimant = Claimant(cur)
        self.aside = Aside(new)
        self._waiting: deque[str] = deque()

    def claim(self, name: str) -> Claim | None:
        """Claim the file ``name`` in ``new``.

        ``None`` if it is not there (any more), or no process can take it: then it is set aside,
        or skipped.
        """
        source = os.path.join(self._new, name)
        if self.aside.is_stuck(source):
            return None
        try:
            naming.check_length(name)
            claim = self._claim(source)
        except OSError as error:
            if error.errno not in FILE_ERRORS or not os.access(self._new, os.W_OK | os.X_OK):
                raise
            self.aside.put(source, f"it can't be claimed: {error.strerror}")
            return None
        return None if claim is None else self._checked(claim)

    def _checked(self, claim: Claim) -> Claim | None:
        """``claim``, unless its file can't be handled."""
        try:
            problem = problem_of(claim.path)
        except FileNotFoundError:
            return None  # another process took this one for dead
        except BaseException:
            with suppress(OSError):
                claim.release()
            raise
        if not problem:
            return claim
        if not self.aside.put(claim.path, problem):
            with suppress(OSError):
                put_back(claim.path, self._new)
        return None

    def _claim(self, source: str) -> Claim | None:
        claimant = self.claimant
        path = self._rename(source, claimant)
        while path is not None and claimant.is_lost():
            # Others took this process for dead while it slept, and removed its lease.
            claimant = self.claimant = Claimant(self._cur)
            path = self._rename(path, claimant)
        return None if path is None else Claim(path, self._new, claimant, self.aside)

    def claim_any(self) -> Claim | None:
        """Claim a waiting file; ``None`` if at a moment during the call no file was waiting."""
        return self._claim_first(self._waiting) or self._claim_first(self._list())

    def _list(self) -> deque[str]:
        names = sorted(name for name in os.listdir(self._new) if not naming.is_hidden(name))
        self._waiting = deque(names)
        return self._waiting

    def _claim_first(self, waiting: deque[str]) -> Claim | None:
        with suppress(IndexError):  # another thread took the last name
            while waiting:
                if (claim := self.claim(waiting.popleft())) is not None:
                    return claim
                # Another process goes through the same list: do not race it for every file.
                waiting.rotate(-randrange(_SPREAD))  # noqa: S311 - no secret depends on it
        return None

    def _rename(self, source: str, claimant: Claimant) -> str | None:
        name = naming.claimed_name(os.path.basename(source), claimant.id, claimant.next_number())
        path = os.path.join(self._cur, name)
        try:
            os.rename(source, path)
        except FileNotFoundError:
            # A network filesystem that repeats a request sees the effect of its first attempt.
            return path if exists(path) else None
        return path


def put_back(path: str, new: str) -> bool:
    """Rename a claimed file from ``cur`` into the directory ``new``; whether it was there.

    The file gets its published name again. Where that name is taken, or where the filesystem
    can't rename without replacing, the file gets a unique name.
    """
    name = os.path.basename(path)
    try:
        try:
            rename_new(path, os.path.join(new, naming.published_name(name)))
        except (FileExistsError, NoReplaceUnsupported):
            os.rename(path, os.path.join(new, naming.marked_name(name)))
    except FileNotFoundError:
        return False
    return True
