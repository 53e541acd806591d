"""``GET /metrics``: what Prometheus reads."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import Executor

from starlette.requests import Request
from starlette.responses import Response

from gobbler.service.health import Health, PartHealth
from gobbler.service.metrics.exposition import Measured, exposition
from gobbler.service.metrics.metrics import Metrics
from gobbler.service.metrics.queue import QueueLength
from gobbler.service.responses import ALWAYS, SANDBOX


class MetricsRoute:
    """Shows the metrics of all processes of the service. ``threads`` wait for directories."""

    def __init__(
        self, metrics: Metrics, health: Health, queue: QueueLength, threads: Executor
    ) -> None:
        self._metrics = metrics
        self._health = health
        self._queue = queue
        self._threads = threads

    async def answer(self, request: Request) -> Response:
        """Answer one request."""
        loop = asyncio.get_running_loop()
        measured = await loop.run_in_executor(self._threads, self._measure)
        accept = request.headers.get("accept", "")
        body, media_type = exposition(self._metrics.values(), measured, accept)
        headers = {**ALWAYS, "content-type": media_type, "content-security-policy": SANDBOX}
        return Response(body, headers=headers)

    def _measure(self) -> list[Measured]:
        found = self._health.check()
        measured = _health_gauges(found)
        if found["spool"].usable:
            measured.append(
                Measured(
                    "gobbler_spool_jobs",
                    "Jobs of the spool that are not answered yet.",
                    "state",
                    self._queue.measure(),
                )
            )
        return measured


def _health_gauges(found: Mapping[str, PartHealth]) -> list[Measured]:
    return [
        Measured(
            "gobbler_usable",
            "Whether a directory can be used now (1) or not (0).",
            "directory",
            {name: float(part.usable) for name, part in found.items()},
        ),
        Measured(
            "gobbler_free_bytes",
            "Space that the account of the service can still use.",
            "directory",
            {name: part.free for name, part in found.items() if part.free is not None},
        ),
    ]
