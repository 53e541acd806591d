"""``GET /list``: the content of a directory of the registry.

Short lists are made at once. All others go on with places and threads of their own, so that nobody
waits for them who asks for something small.
"""

from __future__ import annotations

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from gobbler.errors import quoted
from gobbler.model.progress import CancelFlag
from gobbler.rules.places import Shares
from gobbler.service.block_reader import BlockReader
from gobbler.service.http.exchange import Exchange
from gobbler.service.places import Places
from gobbler.service.registry_files import registry_path
from gobbler.service.registry_list import BLOCK_SIZE, Listing
from gobbler.service.responses import JSON_HEAD, answer_or_break_off, encoded_answer
from gobbler.service.transfers import Transfers

SHARES = Shares(places=8, each=4, reserved=1, waiting=256)
"""The long lists that one HTTP worker makes at a time; a user is the address of a client."""

PATIENCE = 30.0
"""Seconds that a client waits for a place before it is told to come back later."""

LONG_THREADS = 3
"""Number of long lists that are made at a time; the others wait for their clients."""

SHORT_THREADS = 8
"""Number of short lists that are made at a time."""

SHORT_STEPS = 2000
"""Entries of directories up to which a list may be short; a directory counts as ten of them."""


class ListRoute:
    """Lists directories of the open registry ``directory``; long lists by ``transfers``."""

    def __init__(self, directory: int, transfers: Transfers) -> None:
        self._directory = directory
        self._short = ThreadPoolExecutor(SHORT_THREADS, thread_name_prefix="list")
        self._long = ThreadPoolExecutor(LONG_THREADS, thread_name_prefix="walk")
        self._places: Places[str] = Places("long lists", SHARES, PATIENCE)
        self._transfers = transfers

    async def __call__(self, exchange: Exchange) -> None:
        """Answer one request. Raises :class:`~gobbler.errors.GobblerError`."""
        recursive = exchange.parameter("recursive", "false").lower() in ("true", "1")
        path = registry_path(exchange.parameter("path", ""))
        cancel = CancelFlag()
        listing = Listing(self._directory, path, cancel, recursive=recursive, steps=SHORT_STEPS)
        loop = asyncio.get_running_loop()
        body = await loop.run_in_executor(self._short, _short_list, listing)
        if body is not None:
            exchange.answer(encoded_answer(body))
            return
        try:
            await answer_or_break_off(
                f"list {quoted(path)}", exchange, self._answer(listing, cancel, exchange)
            )
        finally:
            with suppress(ValueError):  # a thread that closes it is just at it
                listing.close()

    async def _answer(self, listing: Listing, cancel: CancelFlag, exchange: Exchange) -> None:
        async with self._places.one(exchange.client):
            reader = BlockReader(self._long, listing, cancel)
            try:
                await reader.begin()
                await self._send(reader, exchange)
            finally:
                await reader.close()

    async def _send(self, reader: BlockReader, exchange: Exchange) -> None:
        first, second = await reader.next() or b"", await reader.next()
        if second is None:
            exchange.answer(encoded_answer(first))
            return
        ahead = [first, second]

        async def next_block() -> bytes | None:
            return ahead.pop(0) if ahead else await reader.next()

        async with self._transfers.begin(exchange, self._places) as transfer:
            reader.set_block_size(transfer.part_size)
            exchange.begin(200, JSON_HEAD, None)
            await transfer.send_all(next_block)


def _short_list(listing: Listing) -> bytes | None:
    """A whole list; ``None`` if it is not short: then it pauses, and goes on where it is."""
    listing.block_size = sys.maxsize
    whole = next(listing.blocks())
    if not whole:
        listing.block_size = BLOCK_SIZE
        return None
    listing.close()
    return whole
