"""``/links/{project}/{asset}/{version}``: what is linked to a version, or shares content."""

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
from gobbler.service.responses import json_answer, while_there

LINKS = "/links/"

AT_A_TIME = 2
"""Answers that one process works on: without an index, each reads all manifests."""


class Linking:
    """Answers what ``reroute_links`` would change, and where else the content is."""

    def __init__(self, service: ServiceContext, readers: Executor) -> None:
        self._site = service
        self._readers = readers
        self._free = asyncio.Semaphore(AT_A_TIME)

    async def answer(self, request: Request) -> Response:
        """Answer a request."""
        key = _version(request.path_params["path"])
        answer = await while_there(request.receive, self._answered(key))
        return Response() if answer is None else answer

    async def _answered(self, key: VersionKey) -> Response:
        gone = CancelFlag()
        async with self._free:
            try:
                return await asyncio.get_running_loop().run_in_executor(
                    self._readers, self._found, key, gone
                )
            finally:
                gone.cancel("the client went away", code=Code.CLIENT_GONE)

    def _found(self, key: VersionKey, cancel: CancelToken) -> Response:
        try:
            return json_answer(self._search(key, cancel))
        except OSError as error:
            raise fault_from(error, "search the registry") from error

    def _search(self, key: VersionKey, cancel: CancelToken) -> dict[str, object]:
        registry, search = self._site.registry, self._site.search
        if not registry.has(key.manifest):
            raise Missing(f"version {quoted(key.path)} does not exist", code=Code.VERSION_NOT_FOUND)
        links = link_impact(search, Manifests(registry), lambda _: {key}, cancel).to_dict()
        return {"links": links, "shared": search.shared_with(key, lambda *_: cancel.check())}


def _version(path: str) -> VersionKey:
    names = path.split("/")
    if len(names) != 3:
        raise Refused(
            f"{quoted(path)} is not {{project}}/{{asset}}/{{version}}", code=Code.INVALID_NAME
        )
    return VersionKey.checked(*names)
