"""Run reports: how far a batch is in another process, and which process that is.

A remote executor says nothing of a batch until it has ended. So each run writes what it has done
into a small file, now and then. The dispatching process, which made the file, reads it::

    ..incoming/{workspace}/apart-{random}/{number}.run

A report that stays as it is shows that its process hangs.
"""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress

from gobbler.fs.atomic_write import FILE_MODE
from gobbler.fs.open import READ, closing
from gobbler.model.progress import NoProgress, ProgressCounter
from gobbler.registry.workspace import workspace_gone

REPORT_SECONDS = 0.5
"""Seconds between two reports of a run."""

REPORT_BYTES = 256
"""Size of a report, in bytes. It always is the same, so a reader never sees half of one."""


class RunReporter:
    """The progress of a batch in the process that runs it: writes the report at ``path``."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._files = self._bytes = 0
        self._next = 0.0

    def expect(self, files: int, size: int | None) -> None:
        """Do nothing: the dispatcher knows the total."""

    def advance(self, files: int, size: int) -> None:
        """Count what is done.

        Raises :class:`~gobbler.errors.Cancelled` if the report, and so the batch, is no longer
        wanted.
        """
        self._files += files
        self._bytes += size
        if time.monotonic() >= self._next:
            self.write()

    def write(self) -> None:
        """Write the report now."""
        self._next = time.monotonic() + REPORT_SECONDS
        process = f"process {os.getpid()} on {socket.gethostname()}"
        text = f"{self._files} {self._bytes} {process}".ljust(REPORT_BYTES)
        try:
            # Another host sees it once the file is closed.
            with closing(os.open(self._path, os.O_WRONLY | os.O_CLOEXEC)) as report:
                os.write(report, text.encode()[:REPORT_BYTES])
        except FileNotFoundError:
            raise workspace_gone(self._path) from None
        except OSError:
            return  # such as a full disk: the batch itself may need no more space


class RemoteCounter(ProgressCounter):
    """Adds up the progress of one batch in another process, as far as its report says.

    The report is at ``path``; empty if there is none. In the other process, a
    :class:`RunReporter` stands for it.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self.process = ""
        self._path = path
        self._text = b""

    @classmethod
    def new(cls, path: str) -> RemoteCounter:
        """A counter with a report that is still empty. On a full disk it has none."""
        # Its reader makes it: what a host has once found missing may seem missing for a while.
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            os.close(os.open(path, flags, FILE_MODE))
        except OSError:
            return cls("")
        return cls(path)

    def read(self) -> bool:
        """Read the report; return whether it has changed."""
        text = b""
        if self._path:
            with suppress(OSError), closing(os.open(self._path, READ)) as report:
                text = os.read(report, REPORT_BYTES)
        if len(text) < REPORT_BYTES or text == self._text:
            return False
        self._text = text
        with suppress(ValueError):  # a network filesystem may show zeros before the content
            files, size, process = text.decode().split(maxsplit=2)
            self.files, self.bytes, self.process = int(files), int(size), process.strip()
        return bool(self.process)

    def __reduce__(self) -> tuple[type[object], tuple[str, ...]]:
        return (RunReporter, (self._path,)) if self._path else (NoProgress, ())
