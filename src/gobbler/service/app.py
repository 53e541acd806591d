"""The HTTP application of one HTTP worker: which endpoint answers a request.

The answers to ``GET /``, ``/info`` and ``/openapi.json`` are made once, so they need no filesystem:
the last one when somebody first asks, since it takes longer than the whole start.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import NamedTuple

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gobbler import __version__
from gobbler.actions import ACTIONS
from gobbler.errors import Code, GobblerError, shortened
from gobbler.fs.clock import FilesystemClock
from gobbler.service.context import executor_of, make_service_context
from gobbler.service.health import Health
from gobbler.service.metrics.metrics import ENDPOINTS, OTHER, HttpCells, Metrics
from gobbler.service.metrics.queue import QueueLength
from gobbler.service.outcome import RequestHandler
from gobbler.service.registry_files import RegistryFiles
from gobbler.service.responses import CORS, failure, json_answer, stopping
from gobbler.service.routes import new
from gobbler.service.routes.archive import ArchiveRoute
from gobbler.service.routes.fetch import FetchRoute
from gobbler.service.routes.health import HealthRoute
from gobbler.service.routes.jobs import JobsRoute
from gobbler.service.routes.links import LINKS_ROUTE, LinksRoute
from gobbler.service.routes.list import ListRoute
from gobbler.service.routes.metrics import MetricsRoute
from gobbler.service.settings import Settings
from gobbler.service.transfers import Transfers
from gobbler.spool.replay_guard import ReplayGuard
from gobbler.spool.request_file import RequestIntake
from gobbler.spool.spool import Spool


def constant_answers(settings: Settings) -> dict[str, ASGIApp]:
    """The answers of a service with these ``settings`` that never change, by their path."""
    prefix = settings.prefix
    root = {"name": "gobbler API", "version": __version__, "actions": sorted(ACTIONS)}
    info = {"staging": settings.staging, "registry": settings.registry}
    answers = {
        f"{prefix}/": root,
        **({prefix: root} if prefix else {}),
        f"{prefix}/info": info,
    }
    return {
        **{path: json_answer(value) for path, value in answers.items()},
        f"{prefix}{OPENAPI}": _Description(prefix),
    }


class _Description:
    """The description of the endpoints, made when it is first asked for."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._answer: Response | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if self._answer is None:
            from gobbler.service import openapi  # noqa: PLC0415 - see above

            self._answer = json_answer(openapi.description(self._prefix))
        await self._answer(scope, receive, send)


OPENAPI = "/openapi.json"
"""Where the description of the endpoints is."""


class _Endpoint(NamedTuple):
    """How requests for paths below one name are counted, and what answers reads below ``route``."""

    cells: HttpCells
    route: str
    read: ASGIApp | None


READ_THREADS = 32
"""Number of small files and states of jobs that one HTTP worker reads at a time. If a mount hangs,
all of these threads may wait for it; the worker still answers what needs no thread.
"""

PROBE_THREADS = 4
"""Number of requests that wait for probes of directories at a time; each wait is bounded."""

logger = logging.getLogger(__name__)


class Application:
    """The endpoints of the protocol; an ASGI application that counts in ``metrics``.

    ``new`` and ``jobs`` are the routes that the service ends when it stops.
    """

    def __init__(self, settings: Settings, metrics: Metrics | None = None) -> None:
        if metrics is None:
            metrics = Metrics(1)
            metrics.join()
        self._is_stopping = self._refuses = False
        self._prefix = settings.prefix
        service = make_service_context(settings, executor_of(settings, settings.concurrency))
        intake = RequestIntake(
            settings.staging,
            ReplayGuard(settings.replay_guard),
            FilesystemClock(settings.replay_guard),
            settings.authorship,
        )
        requests = RequestHandler(service, metrics)
        threads = ThreadPoolExecutor(new.THREADS, thread_name_prefix="request")
        readers = ThreadPoolExecutor(READ_THREADS, thread_name_prefix="read")
        prefix = settings.prefix
        files = RegistryFiles(settings.registry, settings.whitelist)
        self.new = new.NewRoute(requests, intake, threads, prefix)
        self.jobs = JobsRoute(requests, intake, readers, threads)
        self._new = f"{prefix}/new/"
        transfers = Transfers()
        fetch, archive, links = f"{prefix}/fetch/", f"{prefix}/archive/", f"{prefix}{LINKS_ROUTE}"
        reads: dict[str, ASGIApp] = {
            "fetch": FetchRoute(files, fetch, readers, transfers),
            "archive": ArchiveRoute(files, archive, transfers),
        }
        probing = ThreadPoolExecutor(PROBE_THREADS, thread_name_prefix="probe")
        health = Health(settings.staging, settings.registry, settings.replay_guard)
        queue = QueueLength(Spool(settings.staging, settings.durability))
        # These answer also while the service stops.
        self._watched = frozenset({f"{prefix}/health", f"{prefix}/metrics"})
        self._constant = constant_answers(settings)
        self._endpoints = {
            f"{prefix}/{name}": _Endpoint(
                metrics.http_cells(name), f"{prefix}/{name}/", reads.get(name)
            )
            for name in ENDPOINTS
            if name != OTHER
        }
        self._other = _Endpoint(metrics.http_cells(OTHER), prefix, None)
        rest = Starlette(
            routes=[
                Route(
                    f"{prefix}/health",
                    HealthRoute(health, probing, lambda: self._is_stopping).answer,
                ),
                Route(
                    f"{prefix}/metrics",
                    MetricsRoute(metrics, health, queue, probing, settings.registry).answer,
                ),
                Route(f"{prefix}/list", ListRoute(files.directory, transfers), methods=["GET"]),
                Route(
                    f"{links}{{path:path}}",
                    LinksRoute(service, links, transfers),
                    methods=["GET"],
                ),
                *self.jobs.routes(prefix),
                # For the answer to other methods: these never get here.
                *(Route(path, _unreachable, methods=["GET"]) for path in self._constant),
                *(
                    Route(f"{route}{{path:path}}", _unreachable, methods=["GET"])
                    for route in (fetch, archive)
                ),
                Route(f"{self._new}{{path:path}}", _unreachable, methods=["POST"]),
            ],
            exception_handlers={
                HTTPException: _http_error,
                GobblerError: _gobbler_error,
                Exception: _unexpected,
            },
        )
        # A redirection would name the service as a proxy calls it, not as the client does.
        rest.router.redirect_slashes = False
        self._rest: ASGIApp = rest

    def stop(self, *, refusing: bool) -> None:
        """Close each connection after its answer; if ``refusing``, answer new requests with 503."""
        self._is_stopping, self._refuses = True, refusing
        self.jobs.end_streams()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, and count it."""
        if scope["type"] != "http":
            await self._rest(scope, receive, send)
            return
        path: str = scope["path"]
        if self._refuses and path not in self._watched:
            await stopping()(scope, receive, send)
            return
        end = path.find("/", len(self._prefix) + 1)
        endpoint = self._endpoints.get(path if end < 0 else path[:end], self._other)
        cells = endpoint.cells
        add = cells.counters.add_alone
        add(cells.in_flight)
        try:
            answer = self._answer(endpoint, path, scope["method"])
            await answer(scope, receive, self._counted(cells, send))
        finally:
            add(cells.in_flight, -1)

    def _counted(self, cells: HttpCells, send: Send) -> Send:
        """``send``, which also counts what is sent."""
        add = cells.counters.add_alone

        def counted(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.body":
                add(cells.size, len(message.get("body", b"")))
            elif message["type"] == "http.response.start":
                add(cells.responses[message["status"] // 100 - 1])
                if self._is_stopping:  # the next service answers on another connection
                    message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
            return send(message)

        return counted

    def _answer(self, endpoint: _Endpoint, path: str, method: str) -> ASGIApp:
        """What answers a request."""
        if method in ("GET", "HEAD"):
            if endpoint.read is not None and path.startswith(endpoint.route):
                return endpoint.read
            return self._constant.get(path, self._rest)
        if method == "POST" and path.startswith(self._new):
            return self.new
        return _options if method == "OPTIONS" else self._rest


async def _options(scope: Scope, receive: Receive, send: Send) -> None:
    headers = {
        CORS[0]: CORS[1],
        "access-control-allow-methods": "GET, HEAD, POST, DELETE, OPTIONS",
        "access-control-allow-headers": "*",
        "access-control-expose-headers": "*",
    }
    await Response(status_code=204, headers=headers)(scope, receive, send)


async def _unreachable(request: Request) -> Response:
    raise AssertionError(request.url.path)


def _gobbler_error(request: Request, error: Exception) -> Response:
    del request
    assert isinstance(error, GobblerError)
    return failure(error)


_HTTP_CODES = {404: Code.UNKNOWN_ENDPOINT, 405: Code.METHOD_NOT_ALLOWED}


def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    phrase = HTTPStatus(error.status_code).phrase.lower()
    reason = f"{shortened(request.method)} {shortened(request.url.path)}: {phrase}"
    code = _HTTP_CODES.get(error.status_code, Code.INVALID_REQUEST)
    body = {"status": "ERROR", "reason": reason, "code": code.value}
    answer = json_answer(body, error.status_code)
    answer.headers.update(error.headers or {})
    return answer


def _unexpected(request: Request, error: Exception) -> Response:
    logger.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return failure(GobblerError("the service failed; see its log"))
