"""``GET /health``: whether the service can do its work now."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor

from gobbler.errors import Code
from gobbler.service.health import Health
from gobbler.service.http.answer import Answer
from gobbler.service.http.exchange import Exchange
from gobbler.service.responses import json_answer, stopping


class HealthRoute:
    """Answers 200, or 503 with the reasons.

    ``threads`` wait for probes, for a bounded time. ``is_stopping`` says if the service stops.
    """

    def __init__(self, health: Health, threads: Executor, is_stopping: Callable[[], bool]) -> None:
        self._health = health
        self._threads = threads
        self._is_stopping = is_stopping

    async def __call__(self, exchange: Exchange) -> None:
        """Answer one request."""
        exchange.answer(await self._answer())

    async def _answer(self) -> Answer:
        if self._is_stopping():
            return stopping()
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._threads, self._health.check)
        checks = {name: part.to_dict() for name, part in found.items()}
        reasons = [f"{name}: {part.reason}" for name, part in found.items() if not part.usable]
        if not reasons:
            return json_answer({"status": "SUCCESS", "checks": checks})
        body = {
            "status": "ERROR",
            "reason": "; ".join(reasons),
            "code": Code.UNHEALTHY.value,
            "checks": checks,
        }
        return json_answer(body, 503)
