"""Clocks: of this host, and of a filesystem, whose server may be another host."""

from __future__ import annotations

import datetime as dt
import os
import secrets
import threading
import time

from gobbler.errors import Code, os_error_code
from gobbler.fs.atomic_write import remove_quietly
from gobbler.fs.os_errors import with_path

CLOCK = "clock-"
"""Prefix of the files whose times are read. A killed process may leave one."""

MEASURE_EVERY = 60.0
"""Seconds for which a measured difference of the clocks is used."""


def now() -> dt.datetime:
    """The present time, with the offset of the host."""
    return dt.datetime.now(dt.timezone.utc).astimezone()


def time_at(seconds: float) -> dt.datetime:
    """The time at ``seconds`` after the epoch, with the offset of the host."""
    return dt.datetime.fromtimestamp(seconds, dt.timezone.utc).astimezone()


class FilesystemClock:
    """The clock of the filesystem that holds ``directory``, by which it sets times of files.

    Only the service may write in ``directory``: the clock creates a file there from time to time.
    """

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._ahead = 0.0
        self._measured_at: float | None = None

    def now(self) -> float:
        """The time of the filesystem, in seconds since the epoch."""
        with self._lock:
            monotonic = time.monotonic()
            if self._measured_at is None or monotonic - self._measured_at > MEASURE_EVERY:
                self._ahead = self._mtime_of_new_file() - time.time()
                self._measured_at = monotonic
            return time.time() + self._ahead

    def _mtime_of_new_file(self) -> float:
        path = os.path.join(self._directory, f"{CLOCK}{secrets.token_hex(8)}")
        try:
            return self._mtime_of(path)
        except OSError as error:
            if os_error_code(error) is not Code.DISK_FULL:
                raise
        os.utime(self._directory)
        return os.stat(self._directory).st_mtime

    @staticmethod
    def _mtime_of(path: str) -> float:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with with_path(path):
                os.write(descriptor, b"\n")
                return os.fstat(descriptor).st_mtime
        finally:
            os.close(descriptor)
            remove_quietly(path)  # the cleanup of the directory removes what stays
