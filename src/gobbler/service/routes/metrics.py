"""``GET /metrics``: what Prometheus reads."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Mapping
from concurrent.futures import Executor

from gobbler.registry.discarded import discarded_trees
from gobbler.service.health import Health, PartHealth
from gobbler.service.http.answer import Answer, lines
from gobbler.service.http.exchange import Exchange
from gobbler.service.metrics.measured import Measured
from gobbler.service.metrics.metrics import Metrics
from gobbler.service.metrics.queue import QueueLength
from gobbler.service.responses import ALWAYS, SANDBOX

TEXT, OPENMETRICS = "text/plain", "application/openmetrics-text"

Text = tuple[bytes, str]
"""The text of all metrics, and its media type."""


class MetricsRoute:
    """Shows the metrics of all processes of the service.

    ``threads`` wait for directories, and write the text: that takes long enough to keep the event
    loop from everything else if hundreds ask.
    """

    def __init__(
        self,
        metrics: Metrics,
        health: Health,
        queue: QueueLength,
        threads: Executor,
        registry: str,
    ) -> None:
        self._metrics = metrics
        self._registry = registry
        self._health = health
        self._queue = queue
        self._texts = {
            accept: _SharedText(threads, functools.partial(self._text, accept))
            for accept in (TEXT, OPENMETRICS)
        }

    async def __call__(self, exchange: Exchange) -> None:
        """Answer one request."""
        accept = OPENMETRICS if OPENMETRICS in (exchange.header(b"accept") or "") else TEXT
        body, media_type = await self._texts[accept].next()
        headers = {**ALWAYS, "content-type": media_type, "content-security-policy": SANDBOX}
        exchange.answer(Answer(200, lines(headers), body))

    def _text(self, accept: str) -> Text:
        measured = self._measure()
        # Few services are asked, and what this imports is large.
        from gobbler.service.metrics.exposition import exposition  # noqa: PLC0415

        return exposition(self._metrics.values(), measured, accept)

    def _measure(self) -> list[Measured]:
        found = self._health.check()
        measured = _health_gauges(found)
        if found["registry"].usable:
            measured += self._discarded()
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

    def _discarded(self) -> list[Measured]:
        trees = discarded_trees(self._registry)
        return [
            Measured(
                "gobbler_discarded_trees",
                "Trees of deleted versions, and of changes that were given up, that are still to "
                "be removed.",
                "directory",
                {"registry": float(len(trees))},
            ),
            Measured(
                "gobbler_discarded_bytes",
                "Bytes of deleted versions that are still to be removed.",
                "directory",
                {"registry": float(sum(tree.size for tree in trees))},
            ),
        ]


class _SharedText:
    """One text at a time is made; all who ask meanwhile get the next one."""

    def __init__(self, threads: Executor, make: Callable[[], Text]) -> None:
        self._threads = threads
        self._make = make
        self._present: asyncio.Task[Text] | None = None
        self._next: asyncio.Task[Text] | None = None

    async def next(self) -> Text:
        """A text whose making begins after this call."""
        if self._next is None:
            self._next = asyncio.create_task(self._after(self._present))
        return await asyncio.shield(self._next)

    async def _after(self, former: asyncio.Task[Text] | None) -> Text:
        if former is not None:
            await asyncio.wait({former})
        self._present, self._next = self._next, None
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._make)


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
