"""The clock of this host, and that of a filesystem, which may be another host's."""

from __future__ import annotations

import datetime as dt
import os
import secrets
import threading
import time

from gobbler.fs.atomic_write import remove_quietly
from gobbler.fs.os_errors import with_path

CLOCK = "clock-"
"""Begins the names of the files by which the time is told; a kill may leave one."""

REFRESH_AFTER = 60.0
"""Seconds for which a measured difference of the clocks is believed."""


def now() -> dt.datetime:
    """The present time with the host's offset."""
    return dt.datetime.now(dt.timezone.utc).astimezone()


def moment(seconds: float) -> dt.datetime:
    """The time that lies so many ``seconds`` after the epoch, with the host's offset."""
    return dt.datetime.fromtimestamp(seconds, dt.timezone.utc).astimezone()


class FilesystemClock:
    """Tells the time by which a filesystem stamps files.

    ``directory`` is one that only the service can write: a file is made there now and then.
    """

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._ahead = 0.0
        self._measured_at: float | None = None

    def now(self) -> float:
        """Seconds since the epoch by the filesystem's clock."""
        with self._lock:
            monotonic = time.monotonic()
            if self._measured_at is None or monotonic - self._measured_at > REFRESH_AFTER:
                self._ahead = self._stamp() - time.time()
                self._measured_at = monotonic
            return time.time() + self._ahead

    def _stamp(self) -> float:
        name = os.path.join(self._directory, f"{CLOCK}{secrets.token_hex(8)}")
        descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with with_path(name):
                os.write(descriptor, b"\n")
                return os.fstat(descriptor).st_mtime
        finally:
            os.close(descriptor)
            remove_quietly(name)  # what stays is forgotten with the requests
