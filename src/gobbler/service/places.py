"""Places in this process: who has none left waits for a while, and is then refused."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

from gobbler.errors import Busy
from gobbler.rules.places import PlaceTable, Shares

U = TypeVar("U", bound=Hashable)


class Places(Generic[U]):
    """Places for ``what``, which users share; safe for threads.

    Who waits longer than ``patience`` seconds is refused; ``None``: there is no limit.
    """

    def __init__(self, what: str, shares: Shares, patience: float | None) -> None:
        self._what = what
        self._patience = patience
        self._table: PlaceTable[U, asyncio.Future[None]] = PlaceTable(shares)
        self._lock = threading.Lock()

    def is_wanted(self, user: U) -> bool:
        """Whether somebody waits who would get the place that ``user`` gives back."""
        with self._lock:
            return self._table.is_wanted(user)

    def take(self, user: U) -> bool:
        """Take a place for ``user`` if one is free for that user now."""
        with self._lock:
            return self._table.take(user)

    async def wait(self, user: U) -> None:
        """Take a place for ``user``, as soon as it is that user's turn.

        Raises :class:`~gobbler.errors.Busy` if too many wait, or for too long. If this call is
        cancelled, no place is taken.
        """
        turn = asyncio.get_running_loop().create_future()
        with self._lock:
            if self._table.take(user):
                return
            may_wait = self._table.wait(user, turn)
        if not may_wait:
            raise self._busy()
        try:
            await asyncio.wait({turn}, timeout=self._patience)
        except asyncio.CancelledError:
            self._give_up(user, turn)
            raise
        if not turn.done() and self._withdraw(user, turn):
            raise self._busy()

    def leave(self, user: U) -> None:
        """Give a place of ``user`` back."""
        with self._lock:
            begin = self._table.leave(user)
        for turn in begin:
            # It may end in any thread, and long after its event loop was closed.
            turn.get_loop().call_soon_threadsafe(_begin, turn)

    @asynccontextmanager
    async def one(self, user: U) -> AsyncIterator[None]:
        """A place of ``user`` during the block; see :meth:`wait`."""
        await self.wait(user)
        try:
            yield
        finally:
            self.leave(user)

    def _withdraw(self, user: U, turn: asyncio.Future[None]) -> bool:
        with self._lock:
            return self._table.withdraw(user, turn)

    def _give_up(self, user: U, turn: asyncio.Future[None]) -> None:
        if not self._withdraw(user, turn):
            self.leave(user)  # it was just given one

    def _busy(self) -> Busy:
        return Busy(
            f"the service is busy with other {self._what}",
            hint="Nothing was changed; try again in a few seconds.",
        )


def _begin(turn: asyncio.Future[None]) -> None:
    if not turn.done():
        turn.set_result(None)
