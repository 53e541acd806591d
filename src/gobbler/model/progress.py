"""The protocols by which long work reports its progress, and checks whether it was cancelled.

An object may implement both.
"""

from __future__ import annotations

import enum
from typing import Protocol, runtime_checkable

from gobbler.errors import Cancelled, CancelledByOwner, Code


class Progress(Protocol):
    """Receives the progress of long work; called from several threads at once."""

    def expect(self, files: int, size: int | None) -> None:
        """Announce the total: ``files``, and ``size`` in bytes if it is known.

        If it is called again, the work starts over, and nothing is done.
        """

    def advance(self, files: int, size: int) -> None:
        """Add ``files`` and ``size`` in bytes to what is done.

        Batches report while they run. Both numbers may be negative: when a transfer starts
        over, or when the files of a batch are counted again, one by one, after it has ended.

        An error raised here ends the work, which is then rolled back.
        """


@runtime_checkable
class Waiting(Protocol):
    """A :class:`Progress` may also hear what the work waits for."""

    def waits_for(self, note: str) -> None:
        """Note what the work waits for, in words; empty once it goes on."""


def tell_waiting(progress: Progress, note: str) -> None:
    """Tell ``progress`` what the work waits for, if it wants to know."""
    if isinstance(progress, Waiting):
        progress.waits_for(note)


class Phase(str, enum.Enum):
    """The parts of an upload, in their order; each ends when the next one begins."""

    IDENTIFY = "identify"
    """The names, the source, and whether the user may."""
    SCAN = "scan"
    PLAN = "plan"
    INGEST = "ingest"
    """Copy, hash and compare the files."""
    RECORDS = "records"
    """Check what is linked to; make the links and write the records."""
    FLUSH = "flush"
    """Flush the finished tree to disk."""
    PUBLISH = "publish"
    """Locks, renames, usage and log, and the flush of these."""
    CONSUME = "consume"


@runtime_checkable
class Phased(Protocol):
    """A :class:`Progress` may also hear in which phase the work is."""

    def enters(self, phase: Phase) -> None:
        """Note that ``phase`` begins; the one before has ended."""


def tell_phase(progress: Progress, phase: Phase) -> None:
    """Tell ``progress`` that ``phase`` begins, if it wants to know."""
    if isinstance(progress, Phased):
        progress.enters(phase)


class NoProgress:
    """Progress that nobody follows."""

    def expect(self, files: int, size: int | None) -> None:
        """Do nothing."""

    def advance(self, files: int, size: int) -> None:
        """Do nothing."""


class OnlyWaiting(NoProgress):
    """Progress of work that was not announced: tells only what it waits for."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def waits_for(self, note: str) -> None:
        """Tell it."""
        tell_waiting(self._progress, note)


class CancelToken(Protocol):
    """Ends long work early; checked often, from several threads at once."""

    def check(self) -> None:
        """Raise :class:`~gobbler.errors.Cancelled` if the work is no longer wanted."""


class NeverCancelled:
    """The token of work that always runs to its end."""

    def check(self) -> None:
        """Do nothing."""


class CancelCheck(NoProgress):
    """Progress that nobody follows, but that checks a token at each advance."""

    def __init__(self, cancel: CancelToken) -> None:
        self._cancel = cancel

    def advance(self, files: int, size: int) -> None:
        """Raise :class:`~gobbler.errors.Cancelled` if the work is no longer wanted."""
        del files, size
        self._cancel.check()


class CancelFlag:
    """A token that one thread sets and others check."""

    def __init__(self) -> None:
        self._is_set = False
        self._reason = self._hint = ""
        self._code = Code.CANCELLED

    def cancel(self, reason: str, *, code: Code = Code.CANCELLED, hint: str = "") -> None:
        """Make every further check raise an error with this reason, code and hint."""
        self._reason, self._code, self._hint = reason, code, hint
        self._is_set = True

    def is_set(self) -> bool:
        """Whether the flag is set."""
        return self._is_set

    def check(self) -> None:
        """Raise :class:`~gobbler.errors.Cancelled` once the flag is set."""
        if self._is_set:
            # Whoever sends a request and leaves has cancelled it: nothing has failed.
            kind = CancelledByOwner if self._code is Code.CLIENT_GONE else Cancelled
            raise kind(self._reason, code=self._code, hint=self._hint)


class ProgressCounter:
    """Adds up the progress of one batch.

    The dispatching process reads it while the batch runs, if the batch runs in a thread of the
    same process. A pickled counter starts at zero in the other process, and is not read.
    """

    def __init__(self) -> None:
        self.files = self.bytes = 0

    def expect(self, files: int, size: int | None) -> None:
        """Do nothing: the dispatcher knows the total."""

    def advance(self, files: int, size: int) -> None:
        """Count what is done."""
        self.files += files
        self.bytes += size

    def __reduce__(self) -> tuple[type[object], tuple[object, ...]]:
        return ProgressCounter, ()
