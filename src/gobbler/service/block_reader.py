"""Reads what takes long to gather, such as an archive or a long list, in threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

from gobbler.errors import Code
from gobbler.model.progress import CancelFlag


class Blocks(Protocol):
    """What is read block by block; for one thread at a time. ``block_size`` is in bytes."""

    block_size: int

    def blocks(self) -> Generator[bytes, None, None]:
        """The blocks, each of about ``block_size``; it may change between two of them."""

    def close(self) -> None:
        """Close all files."""


class BlockReader:
    """Reads ``contents`` in ``threads``, one block ahead of what is sent.

    A thread is busy only while it reads. ``cancel`` is the flag that ends the reading.
    """

    def __init__(self, threads: ThreadPoolExecutor, contents: Blocks, cancel: CancelFlag) -> None:
        self._threads = threads
        self._cancel = cancel
        self._contents = contents
        self._blocks = contents.blocks()
        self._ahead: asyncio.Future[Any] | None = None
        self._running: Future[Any] | None = None

    def set_block_size(self, size: int) -> None:
        """Set the size of the blocks to come, in bytes."""
        self._contents.block_size = size

    async def begin(self) -> None:
        """Read the first block; raises what reading it raises."""
        self._ahead = self._read()
        await asyncio.wait({self._ahead})
        self._ahead.result()

    async def run(self, work: Callable[[], Any]) -> Any:  # noqa: ANN401 - the result of work
        """Run ``work`` in a thread, while nothing is read."""
        return await self._start(work)

    async def next(self) -> bytes | None:
        """The next block; ``None`` at the end."""
        block: bytes | None = await (self._ahead or self._read())
        self._ahead = None if block is None else self._read()
        return block

    def _read(self) -> asyncio.Future[Any]:
        return self._start(lambda: next(self._blocks, None))

    def _start(self, work: Callable[[], object]) -> asyncio.Future[Any]:
        self._running = self._threads.submit(work)
        return asyncio.wrap_future(self._running)

    async def close(self) -> None:
        """Stop reading, and close all files once no thread reads from them.

        They are closed even if this call is cancelled.
        """
        self._cancel.cancel("the client went away", code=Code.CLIENT_GONE)
        if self._ahead is not None:
            self._ahead.cancel()  # nobody awaits it
        closed: Future[None] = Future()
        if self._running is None:
            self._close(closed)
        else:
            self._running.cancel()
            self._running.add_done_callback(lambda _: self._threads.submit(self._close, closed))
        await asyncio.shield(asyncio.wrap_future(closed))

    def _close(self, closed: Future[None]) -> None:
        self._blocks.close()
        self._contents.close()
        closed.set_result(None)
