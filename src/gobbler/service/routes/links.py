"""``GET /links/{project}/{asset}/{version}``: links to a version, and shared content."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import msgspec

from gobbler.actions.context import ServiceContext
from gobbler.actions.reroute_links import Manifests, link_impact
from gobbler.errors import Code, Missing, Refused, quoted
from gobbler.model.names import VersionKey
from gobbler.model.progress import CancelFlag, CancelToken
from gobbler.rules.places import Shares
from gobbler.service.http.exchange import Exchange
from gobbler.service.places import Places
from gobbler.service.responses import answer_or_break_off
from gobbler.service.transfers import Transfers

LINKS_ROUTE = "/links/"

SHARES = Shares(places=3, each=2, reserved=1, waiting=16)
"""The searches that one HTTP worker runs at a time: without an index, each reads all manifests.

A user is the address of a client.
"""

PATIENCE = 60.0
"""Seconds that a client waits for a place before it is told to come back later."""


class LinksRoute:
    """Reports what ``reroute_links`` would change, and which versions share content."""

    def __init__(self, service: ServiceContext, route: str, transfers: Transfers) -> None:
        self._service = service
        self._route = route
        self._threads = ThreadPoolExecutor(SHARES.places, thread_name_prefix="search")
        self._places: Places[str] = Places("searches", SHARES, PATIENCE)
        self._transfers = transfers

    async def __call__(self, exchange: Exchange) -> None:
        """Answer one request. Raises :class:`~gobbler.errors.GobblerError`."""
        key = _version(exchange.path.removeprefix(self._route))
        await answer_or_break_off("search the registry", exchange, self._answer(key, exchange))

    async def _answer(self, key: VersionKey, exchange: Exchange) -> None:
        cancel = CancelFlag()
        async with self._places.one(exchange.client):
            try:
                body = await asyncio.get_running_loop().run_in_executor(
                    self._threads, self._find, key, cancel
                )
            finally:
                cancel.cancel("the client went away", code=Code.CLIENT_GONE)
            await self._transfers.send_json(body, exchange, self._places)

    def _find(self, key: VersionKey, cancel: CancelToken) -> bytes:
        registry, search = self._service.registry, self._service.search
        if not registry.has(key.manifest):
            raise Missing(f"version {quoted(key.path)} does not exist", code=Code.VERSION_NOT_FOUND)
        links = link_impact(search, Manifests(registry), lambda _: {key}, cancel).changes_by_path
        shared = search.shared_with(key, lambda *_: cancel.check())
        answer: dict[str, object] = {"links": links, "shared": shared}
        if search.problems:
            answer["problems"] = sorted(search.problems.values())
        return msgspec.json.encode(answer)


def _version(path: str) -> VersionKey:
    names = path.split("/")
    if len(names) != 3:
        raise Refused(
            f"{quoted(path)} is not {{project}}/{{asset}}/{{version}}", code=Code.INVALID_NAME
        )
    return VersionKey.checked(*names)
