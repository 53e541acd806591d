"""``GET /links/{project}/{asset}/{version}``: links to a version, and shared content."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor

from starlette.requests import Request
from starlette.responses import Response

from gobbler.actions.context import ServiceContext
from gobbler.actions.reroute_links import Manifests, link_impact
from gobbler.errors import Code, Missing, Refused, quoted
from gobbler.fs.os_errors import fault_from
from gobbler.model.names import VersionKey
from gobbler.model.progress import CancelFlag, CancelToken
from gobbler.service.responses import json_answer, while_connected

LINKS_ROUTE = "/links/"

MAX_SEARCHES = 2
"""Number of searches that one process runs at a time: without an index, each reads all
manifests."""


class LinksRoute:
    """Reports what ``reroute_links`` would change, and which versions share content."""

    def __init__(self, service: ServiceContext, threads: Executor) -> None:
        self._service = service
        self._threads = threads
        self._free = asyncio.Semaphore(MAX_SEARCHES)

    async def answer(self, request: Request) -> Response:
        """Answer one request."""
        key = _version(request.path_params["path"])
        answer = await while_connected(request.receive, self._answer(key))
        return Response() if answer is None else answer

    async def _answer(self, key: VersionKey) -> Response:
        cancel = CancelFlag()
        async with self._free:
            try:
                return await asyncio.get_running_loop().run_in_executor(
                    self._threads, self._find, key, cancel
                )
            finally:
                cancel.cancel("the client went away", code=Code.CLIENT_GONE)

    def _find(self, key: VersionKey, cancel: CancelToken) -> Response:
        try:
            return json_answer(self._search(key, cancel))
        except OSError as error:
            raise fault_from(error, "search the registry") from error

    def _search(self, key: VersionKey, cancel: CancelToken) -> dict[str, object]:
        registry, search = self._service.registry, self._service.search
        if not registry.has(key.manifest):
            raise Missing(f"version {quoted(key.path)} does not exist", code=Code.VERSION_NOT_FOUND)
        links = link_impact(search, Manifests(registry), lambda _: {key}, cancel).changes_by_path
        return {"links": links, "shared": search.shared_with(key, lambda *_: cancel.check())}


def _version(path: str) -> VersionKey:
    names = path.split("/")
    if len(names) != 3:
        raise Refused(
            f"{quoted(path)} is not {{project}}/{{asset}}/{{version}}", code=Code.INVALID_NAME
        )
    return VersionKey.checked(*names)
