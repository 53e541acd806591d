"""``GET /archive/{project}/{asset}/{version}.tar``: a version as one stream.

Threads read and assemble the archive; each part is sent while the next one is being read. The
length is announced first, so that every client notices an archive that breaks off, even behind a
proxy.
"""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote_to_bytes

from gobbler.errors import Code, Refused, quoted
from gobbler.model.names import split_path
from gobbler.model.progress import CancelFlag
from gobbler.rules.places import Shares
from gobbler.service.archive import ArchiveContents, LinkMode
from gobbler.service.block_reader import BlockReader
from gobbler.service.http.answer import Answer, lines
from gobbler.service.http.exchange import Exchange
from gobbler.service.places import Places
from gobbler.service.registry_files import RegistryFiles, registry_path
from gobbler.service.responses import ALWAYS, SANDBOX, answer_or_break_off
from gobbler.service.transfers import Transfers

SUFFIX = ".tar"

MAX_DIGITS = 18
"""Largest number of digits of a size; no file needs more."""

_HINT = "Write it like /archive/project/asset/version.tar."


@dataclass(frozen=True)
class ArchiveRequest:
    """Which directory of the registry a client wants, and how it is packed."""

    path: str
    links: LinkMode
    max_size: int | None
    has_length: bool = True


def parse(path: str, query: Mapping[str, str]) -> ArchiveRequest:
    """The request with this ``path``, below the endpoint, and this ``query``.

    Raises :class:`~gobbler.errors.Refused` or :class:`~gobbler.errors.Missing`.
    """
    if not path.endswith(SUFFIX):
        raise Refused(f"{quoted(path)} is not the name of an archive", hint=_HINT)
    directory = registry_path(path.removesuffix(SUFFIX))
    if split_path(directory) is None:
        raise Refused(
            f"{quoted(directory)} is not the path of a version, or of a directory in one",
            hint=_HINT,
        )
    links = query.get("links", LinkMode.FILES.value)
    if links not in [each.value for each in LinkMode]:
        raise Refused(f'"links" is {quoted(links)}; it may be "files" or "links"')
    max_size = query.get("max_size")
    if max_size is not None and not _is_number(max_size):
        raise Refused(f'"max_size" is {quoted(max_size)}, which is not a number of bytes')
    length = query.get("length", "true")
    if length not in ("true", "false"):
        raise Refused(f'"length" is {quoted(length)}; it may be "true" or "false"')
    limit = None if max_size is None else int(max_size)
    return ArchiveRequest(directory, LinkMode(links), limit, length == "true")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS


SHARES = Shares(places=64, each=32, reserved=8, waiting=256)
"""The archives that one HTTP worker sends at a time; a user is the address of a client."""

PATIENCE = 30.0
"""Seconds that a client waits for a place before it is told to come back later."""

THREADS = 3
"""Number of archives that are read at a time; the others wait for their clients."""


class ArchiveRoute:
    """Serves archives of ``files`` below ``route``, by ``transfers`` of their own."""

    def __init__(self, files: RegistryFiles, route: str, transfers: Transfers) -> None:
        self._files = files
        self._route = route
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="archive")
        self._places: Places[str] = Places("archives", SHARES, PATIENCE)
        self._transfers = transfers

    def __call__(self, exchange: Exchange) -> Coroutine[Any, Any, None]:
        """What answers one request in a task. Raises :class:`~gobbler.errors.GobblerError`."""
        request = self._parse(exchange)
        return answer_or_break_off(
            f"read the archive of {quoted(request.path)}",
            exchange,
            self._answer(request, exchange),
        )

    def _parse(self, exchange: Exchange) -> ArchiveRequest:
        try:
            path = unquote_to_bytes(exchange.raw_path).decode().removeprefix(self._route)
            query = dict(parse_qsl(exchange.query.decode("ascii"), keep_blank_values=True))
        except (UnicodeDecodeError, ValueError):
            raise Refused(
                "the path or the query is not valid UTF-8", code=Code.INVALID_NAME
            ) from None
        return parse(path, query)

    async def _answer(self, request: ArchiveRequest, exchange: Exchange) -> None:
        async with self._places.one(exchange.client):
            await self._read(request, exchange)

    async def _read(self, request: ArchiveRequest, exchange: Exchange) -> None:
        cancel = CancelFlag()
        contents = ArchiveContents(
            self._files, request.path, request.links, request.max_size, cancel
        )
        reader = BlockReader(self._threads, contents, cancel)
        try:
            length: int | None = None
            if request.has_length:
                length = await reader.run(contents.measure)
            else:
                await reader.begin()
            if exchange.method == "HEAD":
                exchange.answer(Answer(200, _HEAD, length=length))
                return
            async with self._transfers.begin(exchange, self._places) as transfer:
                reader.set_block_size(transfer.part_size)
                exchange.begin(200, _HEAD, length)
                await transfer.send_all(reader.next)
        finally:
            await reader.close()


_HEAD = lines(
    {
        **ALWAYS,
        "content-type": "application/x-tar",
        "content-disposition": "attachment",
        "content-security-policy": SANDBOX,
    }
)
