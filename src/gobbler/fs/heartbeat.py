"""Heartbeats: a file that processes touch while they work, so that others know that somebody does.

Any number of processes, on any hosts, share one file. Whoever reads it compares its time with an
earlier one of the same file, or with another time of the same filesystem, never with the clock of
this host.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from contextlib import suppress

from gobbler.fs.atomic_write import FILE_MODE
from gobbler.fs.open import READ, closing

BEAT_SECONDS = 3.0
"""Seconds between two touches."""

SILENCE_SECONDS = 10.0
"""Seconds without a touch after which nobody works, as far as one can see."""

logger = logging.getLogger(__name__)


class Heartbeat:
    """Touches the file ``path`` in a thread, from :meth:`start` to :meth:`stop`.

    Only the account of this process may write in the directory of the file.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._failure = ""

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, and remove the file; others who work make it anew with their next beat.

        Waits a second for that at most, even if the filesystem hangs.
        """
        self._stopped.set()
        self._thread.join(1.0)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self.beat()
                self._failure = ""
            except FileNotFoundError:  # something has removed the directory, which is made anew
                pass
            except OSError as error:
                if self._failure != str(error):
                    self._failure = str(error)
                    logger.warning("could not touch %s: %s", self._path, error)
            self._stopped.wait(BEAT_SECONDS)
        with suppress(OSError):
            os.unlink(self._path)

    def beat(self) -> None:
        """Touch the file, and make it if it is missing."""
        try:
            os.utime(self._path, follow_symlinks=False)
        except FileNotFoundError:
            flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            with closing(os.open(self._path, flags, FILE_MODE)) as made:
                os.fchmod(made, FILE_MODE)


class HeartbeatReader:
    """Tells whether somebody touches the file ``path``. Threads may share it; a copy knows nothing.

    It opens the file, for network filesystems then ask their server.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._seen: tuple[int, float] | None = None

    def __reduce__(self) -> tuple[type[HeartbeatReader], tuple[str]]:
        return HeartbeatReader, (self._path,)

    def is_silent(self, since: float | None = None) -> bool:
        """Whether nobody touches it any more.

        ``since``: a time of the filesystem, in seconds since the epoch, that has passed. Without
        it, silence is noticed :data:`SILENCE_SECONDS` after the first call at the earliest.
        """
        try:
            with closing(os.open(self._path, READ)) as opened:
                touched = os.fstat(opened).st_mtime_ns
        except FileNotFoundError:
            return True
        except OSError:
            return False  # nobody can know
        now, seen = time.monotonic(), self._seen
        if seen is None or seen[0] != touched:
            seen = self._seen = touched, now
        if since is not None and since - touched * 1e-9 > SILENCE_SECONDS:
            return True
        return now - seen[1] > SILENCE_SECONDS
