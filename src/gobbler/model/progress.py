"""How work tells what it has done so far."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """ActionDoc of the advance of a copy or a download; called from several threads at once.

    What it raises ends the work, which is then put back as after any other error.
    """

    def expect(self, files: int, size: int | None) -> None:
        """So many files are going to be done, of so many bytes if that is known."""

    def advance(self, files: int, size: int) -> None:
        """So many more files and bytes are done.

        The bytes may be fewer than none: when a broken transfer begins anew.
        """


class Silent:
    """Progress that nobody looks at."""

    def expect(self, files: int, size: int | None) -> None:
        """Do nothing."""

    def advance(self, files: int, size: int) -> None:
        """Do nothing."""


class Meter:
    """Counts what a batch has done, while it is at it.

    Whoever handed it out sees that only where the batch runs in the same process; in
    another one there is a meter of its own, which nobody reads.
    """

    def __init__(self) -> None:
        self.files = 0
        self._whole = self._part = 0

    @property
    def bytes(self) -> int:
        """Of files that are done, and of the one that is not."""
        return self._whole + self._part

    def __reduce__(self) -> tuple[type[Meter], tuple[()]]:
        return Meter, ()

    def add(self, size: int) -> None:
        """So many bytes more of the present file are done."""
        self._part += size

    def add_file(self, size: int) -> None:
        """The present file, of so many bytes, is done."""
        self.files += 1
        self._whole, self._part = self._whole + size, 0


class Watcher(Protocol):
    """What the caller of long work may want to see and say."""

    def expect(self, files: int, size: int) -> None:
        """So many files, of so many bytes together, are going to be done.

        Said again where the work is begun anew: nothing of it is done then.
        """

    def advance(self, files: int, size: int) -> None:
        """So many files more, of so many bytes together, are done."""

    def under_way(self, files: int, size: int) -> None:
        """So much is done of batches that have not ended; it is told again when they have."""

    def check(self) -> None:
        """Raise :class:`~gobbler.errors.Cancelled` if the work is no longer wanted."""


class NoProgress:
    """A watcher that neither looks nor stops anything."""

    def expect(self, files: int, size: int) -> None:
        """Nobody looks."""

    def advance(self, files: int, size: int) -> None:
        """Nobody looks."""

    def under_way(self, files: int, size: int) -> None:
        """Nobody looks."""

    def check(self) -> None:
        """Nobody stops it."""
