"""Transfers: the bodies of answers that are too large for one message.

Files go from the page cache to the client without passing through this process. Other bodies have
a part that is being sent and one that was made ahead. The size of a part depends on how many others
are under way: together, parts larger than the smallest take no more than :data:`BUDGET`, and one
client gets half of that.

A client has a share of the places for transfers. Whoever finds none waits for a moment. A client
that takes nothing is given up: its connection is broken off. So is one that takes little while
others wait for its place, since one user may hold all places of a proxy that many use.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from typing import NamedTuple

from gobbler.rules.places import Shares
from gobbler.service import connections
from gobbler.service.connections import STALLED_AFTER
from gobbler.service.file_sending import FileSending
from gobbler.service.http.exchange import Exchange
from gobbler.service.places import Places
from gobbler.service.responses import encoded_answer

SHARES = Shares(places=512, each=384, reserved=64, waiting=1024)
"""The transfers of one HTTP worker that are under way; a user is the address of a client."""

PATIENCE = 30.0
"""Seconds that a client waits for a place before it is told to come back later."""

STALLED_WHEN_CROWDED = 10.0
"""The same while others wait for a place."""

SLOWEST_WHEN_CROWDED = 32 * 1024
"""Bytes that a client must take for each second that it is waited for while others wait."""

BUDGET = 96 * 1024 * 1024
"""Bytes of memory for parts beyond the smallest size, in one HTTP worker."""

LARGEST_PART = 1024 * 1024
SMALLEST_PART = 32 * 1024

PARTS_HELD = 4
"""Parts of one transfer that this process holds when its client does not read, copies included."""

THREADS = 16
"""Number of files that are being sent at a time; the others wait for their clients."""

WATCH_INTERVAL = 1.0
"""Seconds between two looks at the transfers that are under way."""

logger = logging.getLogger(__name__)


def part_size(free: int) -> int:
    """The size of a part in bytes if ``free`` bytes of the budget are free: a power of two.

    A transfer takes at most a third of what is free, so there is always something left.
    """
    share = free // (3 * PARTS_HELD)
    if share < SMALLEST_PART:
        return SMALLEST_PART
    return int(min(LARGEST_PART, 1 << (share.bit_length() - 1)))


class Check(NamedTuple):
    """What was seen of a transfer: for how long it was waited for, and what its client has taken.

    ``taken``: bytes; ``None`` if the kernel does not say.
    """

    waited: float
    taken: int | None

    def goes_on(self, before: Check | None, slowest: float) -> bool:
        """Whether the client has taken something since ``before``, and not less than ``slowest``.

        That is a number of bytes a second.
        """
        if before is None:
            return True
        if self.taken is None or before.taken is None:
            return False
        return self.taken - before.taken > slowest * (self.waited - before.waited)


class Transfer:
    """One body on its way to a client, for the calling task."""

    def __init__(
        self, transfers: Transfers, places: Sequence[Places[str]], exchange: Exchange, size: int
    ) -> None:
        self._threads = transfers.threads
        self.part_size = size
        self._places = places
        self.exchange = exchange
        self.client = exchange.client
        self.task = asyncio.current_task()
        self.waits_since: float | None = None
        self.checked: Check | None = None
        self._waited = 0.0
        self._time = asyncio.get_running_loop().time

    @property
    def is_wanted(self) -> bool:
        """Whether somebody waits for one of its places."""
        return any(places.is_wanted(self.client) for places in self._places)

    @property
    def waited(self) -> float:
        """Seconds that the service has waited for the client."""
        since = self.waits_since
        return self._waited + (0.0 if since is None else self._time() - since)

    def is_due(self) -> bool:
        """Whether the service waits, and has waited long enough since the last check."""
        if self.waits_since is None:
            return False
        waited = self.waited - (0.0 if self.checked is None else self.checked.waited)
        if waited < STALLED_WHEN_CROWDED / 2:
            return False
        return waited >= STALLED_AFTER / 2 or self.is_wanted

    @contextmanager
    def _waiting(self) -> Iterator[None]:
        """The service waits for the client during the block."""
        self.waits_since = self._time()
        try:
            yield
        finally:
            self._waited, self.waits_since = self.waited, None

    async def send(self, part: bytes) -> None:
        """Send a part; waits until this process has given all of it away."""
        with self._waiting():
            await self.exchange.send(part)

    async def send_all(self, next_part: Callable[[], Awaitable[bytes | None]]) -> None:
        """Send what ``next_part`` returns, up to ``None``, and end the answer."""
        while (part := await next_part()) is not None:
            await self.send(part)
        self.exchange.end()

    async def send_whole(self, body: bytes) -> None:
        """Send ``body`` from beginning to end, and end the answer."""
        for offset in range(0, len(body), self.part_size):
            await self.send(body[offset : offset + self.part_size])
        self.exchange.end()

    async def send_file(self, descriptor: int, start: int, stop: int) -> None:
        """Send the bytes of a file from ``start`` up to ``stop``, and end the answer.

        Raises ``OSError``, also if the file became shorter.
        """
        with self._waiting():
            await self.exchange.flushed()
        sending = FileSending(self._threads, self.exchange.socket, descriptor)
        try:
            while start < stop:
                sent = await sending.some(start, stop)
                self.exchange.has_sent(sent)
                start += sent
                if not sent:
                    with self._waiting():
                        await sending.room()
        finally:
            sending.close()
        self.exchange.end()


class Transfers:
    """The transfers of one HTTP worker that are under way; ``threads`` read their parts."""

    def __init__(self) -> None:
        self.threads = ThreadPoolExecutor(THREADS, thread_name_prefix="part")
        self._places: Places[str] = Places("transfers", SHARES, PATIENCE)
        self._under_way: set[Transfer] = set()
        self._reserved: dict[str, int] = {}
        self._free = BUDGET
        self._watching: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def begin(
        self, exchange: Exchange, places: Places[str] | None = None
    ) -> AsyncIterator[Transfer]:
        """A transfer that answers a request, for the calling task.

        If it keeps one of other ``places`` too, it is given up sooner while somebody waits for
        them. Raises :class:`~gobbler.errors.Busy` if there is no place for it.
        """
        client = exchange.client
        async with self._places.one(client):
            size = part_size(min(self._free, BUDGET // 2 - self._reserved.get(client, 0)))
            reserved = (size - SMALLEST_PART) * PARTS_HELD
            kept = (self._places,) if places is None else (self._places, places)
            transfer = Transfer(self, kept, exchange, size)
            self._reserve(client, reserved)
            self._under_way.add(transfer)
            if self._watching is None:
                self._watching = asyncio.get_running_loop().create_task(self._watch())
            try:
                yield transfer
            finally:
                self._under_way.discard(transfer)
                self._reserve(client, -reserved)

    async def send_json(self, body: bytes, exchange: Exchange, places: Places[str]) -> None:
        """Answer with ``body``, which is JSON and may be long, while one of ``places`` is kept."""
        answer = encoded_answer(body)
        if len(body) <= SMALLEST_PART:
            exchange.answer(answer)
            return
        async with self.begin(exchange, places) as transfer:
            exchange.begin(answer.status, answer.head, len(body))
            await transfer.send_whole(body)

    def _reserve(self, client: str, size: int) -> None:
        self._free -= size
        left = self._reserved.get(client, 0) + size
        if left:
            self._reserved[client] = left
        else:
            self._reserved.pop(client, None)

    async def _watch(self) -> None:
        """Give up the transfers that make no progress, as long as there are any transfers."""
        try:
            while self._under_way:
                await asyncio.sleep(WATCH_INTERVAL)
                for transfer in tuple(self._under_way):
                    if transfer.is_due():
                        self._check(transfer)
        finally:
            self._watching = None

    @staticmethod
    def _check(transfer: Transfer) -> None:
        # Each is looked at twice: what has its client taken between the two?
        check = Check(transfer.waited, connections.taken(transfer.exchange.socket))
        slowest = SLOWEST_WHEN_CROWDED if transfer.is_wanted else 0
        if check.goes_on(transfer.checked, slowest):
            transfer.checked = check
            return
        logger.info(
            "broke off a transfer to %s, which has taken too little in %g s",
            transfer.client,
            check.waited,
        )
        transfer.exchange.abort()
