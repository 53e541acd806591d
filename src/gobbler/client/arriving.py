"""The MD5 of a large file that arrives, computed in another thread while more arrives."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from gobbler.fs.hash import Md5


class ArrivingMd5:
    """The MD5 of pieces in their order, and their ``size`` in bytes.

    Use it in a ``with`` statement, which ends the thread.
    """

    def __init__(self) -> None:
        self.size = 0
        self._digest = Md5()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="gobbler-md5")
        self._running: Future[None] | None = None

    def update(self, piece: bytes) -> None:
        """Add a piece; waits until the one before it is hashed, so that few are in memory."""
        self._wait()
        self.size += len(piece)
        self._running = self._pool.submit(self._digest.update, piece)

    def hexdigest(self) -> str:
        """The MD5 of all pieces, in 32 hexadecimal digits."""
        self._wait()
        return self._digest.hexdigest()

    def reset(self) -> None:
        """Start over: nothing that came before counts."""
        self._wait()
        self._digest = Md5()
        self.size = 0

    def _wait(self) -> None:
        if self._running is not None:
            self._running.result()

    def __enter__(self) -> ArrivingMd5:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._pool.shutdown(cancel_futures=True)
