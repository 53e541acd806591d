"""Files of a directory that is being fetched are flushed while others still come."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from gobbler.client.cache.objects import Objects
from gobbler.disk.flushing import Durability, flush_filesystem
from gobbler.records import Entry

ENOUGH = 512
"""Files for which a flush of their own is worth it."""

_Files = list[tuple[str, Entry]]


class Settling:
    """Brings to disk what is written below the directory ``top``, and names it in ``objects``.

    To be used in a ``with`` statement. A flush that takes long, because others write a lot,
    delays only the next one: meanwhile, files gather. What takes many short calls is left to
    the caller's thread, since threads would only take turns at it.
    """

    def __init__(self, top: str, objects: Objects) -> None:
        self._top = top
        self._objects = objects
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="gobbler-settling")
        self._turn = threading.Lock()
        self._written: _Files = []
        self._running: Future[_Files] | None = None

    def add(self, path: str, entry: Entry) -> None:
        """The file ``path`` is written and closed, and is as ``entry`` says.

        May be called from several threads. Raises what an earlier flush has raised.
        """
        with self._turn:
            self._written.append((path, entry))
            if len(self._written) < ENOUGH or not (self._running is None or self._running.done()):
                return
            flushed = self._flush()
        self._objects.add(flushed)

    def finish(self) -> None:
        """Return when all that was written below ``top`` is on disk, and all files are named."""
        self._objects.add(self._flush())
        self._objects.add(self._wait())

    def _flush(self) -> _Files:
        """Begin a flush of what is written by now; answer what the last one has flushed."""
        flushed = self._wait()
        files, self._written = self._written, []

        def work() -> _Files:
            flush_filesystem(self._top, Durability.FULL)
            return files

        self._running = self._pool.submit(work)
        return flushed

    def _wait(self) -> _Files:
        running, self._running = self._running, None
        return running.result() if running is not None else []

    def __enter__(self) -> Settling:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._pool.shutdown()
