"""The HTTP application of one HTTP worker: which endpoint answers a request.

The answers to ``GET /``, ``/info`` and ``/openapi.json`` are made once, so they need no filesystem:
the last one when somebody first asks, since it takes longer than the whole start.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http import HTTPStatus
from typing import Any, NamedTuple

from gobbler import __version__
from gobbler.actions import ACTIONS
from gobbler.errors import Code, GobblerError, shortened
from gobbler.fs.clock import FilesystemClock
from gobbler.service.context import executor_of, make_service_context
from gobbler.service.health import Health
from gobbler.service.http.answer import Answer, lines
from gobbler.service.http.exchange import Exchange
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

Route = Callable[[Exchange], "Coroutine[Any, Any, None] | None"]
"""Answers a request at once, or returns what does so in a task.

Raises :class:`~gobbler.errors.GobblerError`, here or in the task.
"""

Methods = Mapping[str, Route]
"""What answers the requests for one path, by their method; ``HEAD`` goes with ``GET``."""


def constant_routes(settings: Settings) -> dict[str, Methods]:
    """Routes with the answers of a service with these ``settings`` that never change, by path."""
    prefix = settings.prefix
    root = {"name": "gobbler API", "version": __version__, "actions": sorted(ACTIONS)}
    info = {"staging": settings.staging, "registry": settings.registry}
    answers = {
        f"{prefix}/": root,
        **({prefix: root} if prefix else {}),
        f"{prefix}/info": info,
    }
    return {
        **{path: _constantly(json_answer(value)) for path, value in answers.items()},
        f"{prefix}{OPENAPI}": {"GET": _Description(prefix)},
    }


class _Description:
    """The description of the endpoints, made when it is first asked for."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._answer: Answer | None = None

    def __call__(self, exchange: Exchange) -> None:
        """Answer one request."""
        if self._answer is None:
            from gobbler.service import openapi  # noqa: PLC0415 - see above

            self._answer = json_answer(openapi.description(self._prefix))
        exchange.answer(self._answer)


OPENAPI = "/openapi.json"
"""Where the description of the endpoints is."""


class _Endpoint(NamedTuple):
    """How requests for paths below one name are counted, and what answers them.

    ``methods`` are for all paths that begin with ``route``; ``find`` looks up any other path.
    """

    cells: HttpCells
    route: str
    methods: Methods
    find: Callable[[str], Methods | None]


READ_THREADS = 32
"""Number of small files and states of jobs that one HTTP worker reads at a time. If a mount hangs,
all of these threads may wait for it; the worker still answers what needs no thread.
"""

PROBE_THREADS = 4
"""Number of requests that wait for probes of directories at a time; each wait is bounded."""

logger = logging.getLogger(__name__)


class Application:
    """The endpoints of the protocol. It counts in ``metrics``.

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
        probing = ThreadPoolExecutor(PROBE_THREADS, thread_name_prefix="probe")
        prefix = settings.prefix
        files = RegistryFiles(settings.registry, settings.whitelist)
        transfers = Transfers()
        self.new = new.NewRoute(requests, intake, threads, prefix)
        self.jobs = JobsRoute(requests, intake, readers, threads)
        health = Health(settings.staging, settings.registry, settings.replay_guard)
        queue = QueueLength(Spool(settings.staging, settings.durability))
        # These answer also while the service stops.
        self._watched = frozenset({f"{prefix}/health", f"{prefix}/metrics"})
        exact: dict[str, Methods] = {
            f"{prefix}/health": {
                "GET": HealthRoute(health, probing, lambda: self._is_stopping),
            },
            f"{prefix}/metrics": {
                "GET": MetricsRoute(metrics, health, queue, probing, settings.registry)
            },
            f"{prefix}/list": {"GET": ListRoute(files.directory, transfers)},
            **constant_routes(settings),
        }
        fetch, archive, links = f"{prefix}/fetch/", f"{prefix}/archive/", f"{prefix}{LINKS_ROUTE}"
        below: dict[str, Methods] = {
            "new": {"POST": self.new},
            "fetch": {"GET": FetchRoute(files, fetch, readers, transfers)},
            "archive": {"GET": ArchiveRoute(files, archive, transfers)},
            "links": {"GET": LinksRoute(service, links, transfers)},
        }
        self._endpoints = {
            f"{prefix}/{name}": _Endpoint(
                metrics.http_cells(name), f"{prefix}/{name}/", below.get(name, {}), exact.get
            )
            for name in ENDPOINTS
            if name != OTHER
        }
        jobs = self._endpoints[f"{prefix}/jobs"]
        self._endpoints[f"{prefix}/jobs"] = jobs._replace(find=partial(self._job, jobs.route))
        self._other = _Endpoint(metrics.http_cells(OTHER), "", {}, exact.get)

    def stop(self, *, refusing: bool) -> None:
        """Say that the service stops; if ``refusing``, answer new requests with 503."""
        self._is_stopping, self._refuses = True, refusing
        self.jobs.end_streams()

    def __call__(self, exchange: Exchange) -> None:
        """Answer one request, at once or in a task, and count it."""
        path = exchange.path
        end = path.find("/", len(self._prefix) + 1)
        endpoint = self._endpoints.get(path if end < 0 else path[:end], self._other)
        exchange.cells = endpoint.cells
        if self._refuses and path not in self._watched:
            exchange.answer(stopping())
            return
        methods: Methods | None = endpoint.methods
        if not methods or not path.startswith(endpoint.route):
            methods = endpoint.find(path)
        respond(exchange, _chosen(exchange, methods))

    def _job(self, route: str, path: str) -> Methods | None:
        """The routes for the path of a job, or of its events."""
        job, _, rest = path.removeprefix(route).partition("/")
        if not path.startswith(route) or not job or rest not in ("", "events"):
            return None
        if rest:
            return {"GET": partial(self.jobs.follow, job=job)}
        if path.endswith("/"):
            return None
        return {
            "GET": partial(self.jobs.show, job=job),
            "DELETE": partial(self.jobs.cancel, job=job),
        }


def respond(exchange: Exchange, route: Route) -> None:
    """Let ``route`` answer a request, at once or in a task; answers what it raises, too."""
    try:
        work = route(exchange)
        if work is not None:
            exchange.run(_finish(exchange, work))
    except GobblerError as error:
        exchange.answer(failure(error))
    except Exception:
        logger.exception("%s %s failed", exchange.method, shortened(exchange.path))
        _report(exchange, GobblerError(_FAILED))


async def _finish(exchange: Exchange, work: Coroutine[Any, Any, None]) -> None:
    exchange.count_in_flight(1)
    try:
        await work
    except GobblerError as error:
        _report(exchange, error)
    except Exception:
        logger.exception("%s %s failed", exchange.method, shortened(exchange.path))
        _report(exchange, GobblerError(_FAILED))
    finally:
        exchange.count_in_flight(-1)
        exchange.abort()  # does nothing after a complete answer


_FAILED = "the service failed; see its log"


def _report(exchange: Exchange, error: GobblerError) -> None:
    """Answer with ``error``, or break off an answer that has begun."""
    if exchange.has_begun:
        logger.warning("an answer breaks off: %s", error.reason)
        exchange.abort()
    else:
        exchange.answer(failure(error))


def _chosen(exchange: Exchange, methods: Methods | None) -> Route:
    """What answers a request."""
    method = exchange.method
    if methods is not None:
        route = methods.get("GET" if method == "HEAD" else method)
        if route is not None:
            return route
    if method == "OPTIONS":
        return _options
    return _constantly(_no_route(exchange, methods))["GET"]


def _constantly(answer: Answer) -> Methods:
    return {"GET": lambda exchange: exchange.answer(answer)}


_OPTIONS = Answer(
    204,
    lines(
        {
            CORS[0]: CORS[1],
            "access-control-allow-methods": "GET, HEAD, POST, DELETE, OPTIONS",
            "access-control-allow-headers": "*",
            "access-control-expose-headers": "*",
        }
    ),
)


def _options(exchange: Exchange) -> None:
    exchange.answer(_OPTIONS)


def _no_route(exchange: Exchange, methods: Methods | None) -> Answer:
    """The answer for a path that does not exist, or not with this method."""
    status, code = (404, Code.UNKNOWN_ENDPOINT)
    if methods is not None:
        status, code = (405, Code.METHOD_NOT_ALLOWED)
    phrase = HTTPStatus(status).phrase.lower()
    reason = f"{shortened(exchange.method)} {shortened(exchange.path)}: {phrase}"
    answer = json_answer({"status": "ERROR", "reason": reason, "code": code.value}, status)
    if methods is None:
        return answer
    allowed = [*methods, "HEAD"] if "GET" in methods else methods
    return answer.with_headers({"allow": ", ".join(allowed)})
