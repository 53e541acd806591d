"""The HTTP application of one worker process."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from gobbler import __version__
from gobbler.errors import Code, GobblerError
from gobbler.fs.clock import FilesystemClock
from gobbler.service import openapi
from gobbler.service.context import executor_of, make_service_context
from gobbler.service.registry_files import Files
from gobbler.service.request_intake import Intake
from gobbler.service.responses import CORS, failure, json_answer
from gobbler.service.routes.archive import Archiving
from gobbler.service.routes.fetch import Fetching
from gobbler.service.routes.jobs import Following
from gobbler.service.routes.links import LINKS, Linking
from gobbler.service.routes.list import list_directory
from gobbler.service.routes.new import Submitting
from gobbler.service.settings import Settings
from gobbler.spool.replay_guard import ReplayGuard

REQUEST_THREADS = 256
"""Requests that one worker carries out at a time; each waits most of its time."""

READING_THREADS = 32
"""Directories and parts of files that are read at a time."""

logger = logging.getLogger(__name__)


class Application:
    """The endpoints of protocol and their means; an ASGI application."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._description = openapi.description(settings.prefix)
        service = make_service_context(settings, executor_of(settings, settings.concurrency))
        intake = Intake(
            settings.staging,
            ReplayGuard(settings.replay_guard),
            FilesystemClock(settings.replay_guard),
        )
        threads = ThreadPoolExecutor(REQUEST_THREADS, thread_name_prefix="request")
        self.new = Submitting(service, intake, threads, settings.prefix)
        self._readers = ThreadPoolExecutor(READING_THREADS, thread_name_prefix="read")
        prefix = settings.prefix
        files = Files(settings.registry, settings.whitelist)
        self.jobs = Following(service, intake, self._readers, threads)
        self._posting = f"{prefix}/new/"
        self._reading: dict[str, ASGIApp] = {
            route: endpoint(files, route, self._readers)
            for route, endpoint in (
                (f"{prefix}/fetch/", Fetching),
                (f"{prefix}/archive/", Archiving),
            )
        }
        self._rest: ASGIApp = Starlette(
            routes=[
                Route(f"{prefix}/info", self._info),
                Route(f"{prefix}/list", self._list),
                Route(f"{prefix}{openapi.ROUTE}", self._openapi),
                Route(f"{prefix}/", self._root),
                *([Route(prefix, self._root)] if prefix else []),
                Route(f"{prefix}{LINKS}{{path:path}}", Linking(service, self._readers).answer),
                *self.jobs.routes(prefix),
                # What these methods ask does not come here; other methods are told of them.
                *(Route(f"{r}{{path:path}}", self._root, methods=["GET"]) for r in self._reading),
                Route(f"{self._posting}{{path:path}}", self._root, methods=["POST"]),
            ],
            exception_handlers={
                HTTPException: _http_error,
                GobblerError: _gobbler_error,
                Exception: _unexpected,
            },
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http":
            path, method = scope["path"], scope["method"]
            if method == "OPTIONS":
                await _options(scope, receive, send)
                return
            if method in ("GET", "HEAD"):
                for route, endpoint in self._reading.items():
                    if path.startswith(route):
                        await endpoint(scope, receive, send)
                        return
            if path.startswith(self._posting) and method == "POST":
                await self.new(scope, receive, send)
                return
        await self._rest(scope, receive, send)

    async def _info(self, request: Request) -> Response:
        del request
        return json_answer({"staging": self._settings.staging, "registry": self._settings.registry})

    async def _root(self, request: Request) -> Response:
        del request
        return json_answer({"name": "gobbler API", "version": __version__})

    async def _openapi(self, request: Request) -> Response:
        del request
        return json_answer(self._description)

    async def _list(self, request: Request) -> Response:
        query = request.query_params
        recursive = query.get("recursive", "false").lower() in ("true", "1")
        path = query.get("path", "")
        found = await asyncio.get_running_loop().run_in_executor(
            self._readers,
            lambda: list_directory(self._settings.registry, path, recursive=recursive),
        )
        return json_answer(found)


async def _options(scope: Scope, receive: Receive, send: Send) -> None:
    headers = {
        CORS[0]: CORS[1],
        "access-control-allow-methods": "GET, HEAD, POST, DELETE, OPTIONS",
        "access-control-allow-headers": "*",
        "access-control-expose-headers": "*",
    }
    await Response(status_code=204, headers=headers)(scope, receive, send)


def _gobbler_error(request: Request, error: Exception) -> Response:
    del request
    assert isinstance(error, GobblerError)
    return failure(error)


_HTTP_CODES = {404: Code.UNKNOWN_ENDPOINT, 405: Code.METHOD_NOT_ALLOWED}


def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    phrase = HTTPStatus(error.status_code).phrase.lower()
    reason = f"{request.method} {request.url.path}: {phrase}"
    code = _HTTP_CODES.get(error.status_code, Code.INVALID_REQUEST)
    body = {"status": "ERROR", "reason": reason, "code": code.value}
    answer = json_answer(body, error.status_code)
    answer.headers.update(error.headers or {})
    return answer


def _unexpected(request: Request, error: Exception) -> Response:
    logger.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return failure(GobblerError("the service failed; its log says more"))
