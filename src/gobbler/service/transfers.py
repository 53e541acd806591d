"""Transfers: the bodies of answers that are too large for one message.

Between a file and a client that does not read stand a part that was read ahead, a queue of the
server, and its buffer. So this process holds several parts of each transfer. The size of a part
therefore depends on how many others are under way: together, parts larger than the smallest take
no more than :data:`BUDGET`, and one client gets half of that.

A client has a share of the places for transfers. Whoever finds none waits for a moment. A client
that takes nothing is given up: its connection is broken off. So is one that takes little while
others wait for its place, since one user may hold all places of a proxy that many use.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import NamedTuple

from starlette.types import Receive, Scope, Send

from gobbler.rules.places import Shares
from gobbler.service import connections
from gobbler.service.connections import STALLED_AFTER, Ends
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

PARTS_HELD = 8
"""Parts of one transfer that this process holds when its client does not read."""

LEFT_BEHIND = 48 * 1024 * 1024
"""Bytes of answers that may be in the server although their transfer has ended."""

QUEUED_MESSAGES = 4
"""Messages of one answer that the server queues (granian 2.8)."""

THREADS = 16
"""Number of parts of files that are read at a time."""

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


def client_of(scope: Scope) -> str:
    """The address of the client that sent a request."""
    client = scope.get("client")
    return client[0] if client else ""


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
    """One body on its way to a client."""

    def __init__(
        self,
        transfers: Transfers,
        places: Sequence[Places[str]],
        send: Send,
        client: str,
        ends: Ends,
        size: int,
    ) -> None:
        self._transfers = transfers
        self._sent = 0
        self.part_size = size
        self._places = places
        self.client = client
        self.ends = ends
        self.task = asyncio.current_task()
        self.waits_since: float | None = None
        self.checked: Check | None = None
        self._waited = 0.0
        self._send = send
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

    async def send(self, part: bytes) -> None:
        """Send a part that is not the last one; waits until there is room for it."""
        self.waits_since = self._time()
        await self._send({"type": "http.response.body", "body": part, "more_body": True})
        self._waited, self.waits_since = self.waited, None
        self._sent += len(part)

    async def end(self, part: bytes) -> None:
        """Send the last part.

        If too much of other answers may still be in this process, waits until nearly all of
        this one has left it.
        """
        self.waits_since = self._time()
        if not self._transfers.may_leave(self, self._sent + len(part)):
            # The server forgets an answer as soon as it has all of it. So it gets the last byte
            # only when its queue and its buffer are empty: they are once it has taken one more
            # message than the queue holds, for it takes none while its buffer is full.
            messages = [part[:-1], *[b""] * (QUEUED_MESSAGES + 1)]
            for message in messages:
                await self._send({"type": "http.response.body", "body": message, "more_body": True})
            part = part[-1:]
        await self._send({"type": "http.response.body", "body": part})
        self._waited, self.waits_since = self.waited, None

    async def send_all(self, next_part: Callable[[], Awaitable[bytes | None]]) -> None:
        """Send what ``next_part`` returns, up to ``None``."""
        part = await next_part()
        while part is not None:
            following = await next_part()
            await (self.end if following is None else self.send)(part)
            part = following

    async def send_whole(self, body: bytes) -> None:
        """Send ``body`` from beginning to end."""
        offset = 0
        while len(body) - offset > self.part_size:
            await self.send(body[offset : offset + self.part_size])
            offset += self.part_size
        await self.end(body[offset:])


class Transfers:
    """The transfers of one HTTP worker that are under way; ``threads`` read their parts."""

    def __init__(self) -> None:
        self.threads = ThreadPoolExecutor(THREADS, thread_name_prefix="part")
        self._places: Places[str] = Places("transfers", SHARES, PATIENCE)
        self._under_way: set[Transfer] = set()
        self._reserved: dict[str, int] = {}
        self._free = BUDGET
        self._left: dict[Ends, tuple[float, int]] = {}
        self._left_behind = 0
        self._watching: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def begin(
        self, scope: Scope, send: Send, places: Places[str] | None = None
    ) -> AsyncIterator[Transfer]:
        """A transfer to the client of a request, for the calling task.

        If it keeps one of other ``places`` too, it is given up sooner while somebody waits for
        them. Raises :class:`~gobbler.errors.Busy` if there is no place for it.
        """
        client, port = scope.get("client") or ("", 0)
        # The server writes the ports as text.
        ends = client, int(port), int((scope.get("server") or ("", 0))[1] or 0)
        async with self._places.one(client):
            size = part_size(min(self._free, BUDGET // 2 - self._reserved.get(client, 0)))
            reserved = (size - SMALLEST_PART) * PARTS_HELD
            kept = (self._places,) if places is None else (self._places, places)
            transfer = Transfer(self, kept, send, client, ends, size)
            self._reserve(client, reserved)
            self._under_way.add(transfer)
            if self._watching is None:
                self._watching = asyncio.get_running_loop().create_task(self._watch())
            try:
                yield transfer
            finally:
                self._under_way.discard(transfer)
                self._reserve(client, -reserved)

    async def send_json(
        self, body: bytes, scope: Scope, receive: Receive, send: Send, places: Places[str]
    ) -> None:
        """Answer with ``body``, which is JSON and may be long, while one of ``places`` is kept."""
        answer = encoded_answer(body)
        if len(body) <= SMALLEST_PART:
            await answer(scope, receive, send)
            return
        async with self.begin(scope, send, places) as transfer:
            start = {"type": "http.response.start", "status": 200, "headers": answer.raw_headers}
            await send(start)
            await transfer.send_whole(body)

    def may_leave(self, transfer: Transfer, size: int) -> bool:
        """Whether a transfer may end while the server still has most of its ``size`` bytes.

        They count until the next request on that connection, which the server reads only when
        its buffer is empty, or until the kernel breaks off a connection that takes nothing.
        """
        moment = asyncio.get_running_loop().time()
        while self._left:
            ends, (since, _) = next(iter(self._left.items()))
            if moment - since < STALLED_AFTER:
                break
            self._forget(ends)
        self._forget(transfer.ends)
        held = min(size, (QUEUED_MESSAGES + 2) * transfer.part_size)
        if self._left_behind + held > LEFT_BEHIND:
            return False
        self._left[transfer.ends] = moment, held
        self._left_behind += held
        return True

    def _forget(self, ends: Ends) -> None:
        self._left_behind -= self._left.pop(ends, (0.0, 0))[1]

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
                try:
                    await self._check()
                except Exception:  # too many open files, for example
                    logger.exception("could not look for stalled transfers, and try again")
        finally:
            self._watching = None

    async def _check(self) -> None:
        # Each is looked at twice: what has its client taken between the two?
        suspects = {each.ends: each for each in self._under_way if each.is_due()}
        if not suspects:
            return
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(None, connections.find, suspects.keys())
        for ends, connection in found.items():
            with connection:
                transfer = suspects[ends]
                if transfer.waits_since is None or transfer not in self._under_way:
                    continue
                check = Check(transfer.waited, connections.taken(connection))
                slowest = SLOWEST_WHEN_CROWDED if transfer.is_wanted else 0
                if check.goes_on(transfer.checked, slowest):
                    transfer.checked = check
                    continue
                logger.info(
                    "broke off a transfer to %s, which has taken too little in %g s",
                    transfer.client,
                    check.waited,
                )
                connections.break_off(connection)
                if transfer.task is not None:
                    transfer.task.cancel()
