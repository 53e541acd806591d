"""How work tells what it has done so far."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Told of the advance of a copy or a download; called from several threads at once.

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
