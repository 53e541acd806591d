"""Files of a directory that is being fetched are flushed while others still come."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from gobbler.client.cache.objects import Objects
from gobbler.fs.flush import Durability, flush_filesystem
from gobbler.model.records import Entry

ENOUGH = 1024
"""Files for which a flush of their own is worth it."""

_Files = list[tuple[str, Entry]]


class Settling:
    """Brings to disk what is written below the directory ``top``, and names it in ``objects``.

    To be used in a ``with`` statement. A flush that takes long, because others write a lot,
    delays only the next one: meanwhile, files gather.
    """

    def __init__(self, top: str, objects: Objects) -> None:
        self._top = top
        self._objects = objects
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="gobbler-settling")
        self._turn = threading.Lock()
        self._written: _Files = []
        self._running: Future[None] | None = None

    def add(self, path: str, entry: Entry) -> None:
        """The file ``path`` is written and closed, and is as ``entry`` says.

        May be called from several threads. Raises what an earlier flush has raised.
        """
        with self._turn:
            self._written.append((path, entry))
            if len(self._written) >= ENOUGH and (self._running is None or self._running.done()):
                self._settle()

    def finish(self) -> None:
        """Return when all that was written below ``top`` is on disk, and all files are named."""
        self._settle()
        self._wait()

    def _settle(self) -> None:
        """Begin with what is written by now, once the last is done."""
        self._wait()
        files, self._written = self._written, []

        def work() -> None:
            flush_filesystem(self._top, Durability.FULL)
            self._objects.add(files)

        self._running = self._pool.submit(work)

    def _wait(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            running.result()

    def __enter__(self) -> Settling:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._pool.shutdown()
