"""``GET /archive/{project}/{asset}/{version}.tar``: a version as one stream.

Threads read and assemble the archive; each part is sent while the next one is being read. The
length is announced first, so that every client notices an archive that breaks off, even behind a
proxy.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote_to_bytes

from starlette.types import Receive, Scope, Send

from gobbler.errors import Code, GobblerError, Refused, quoted
from gobbler.fs.os_errors import fault_from
from gobbler.model.names import split_path
from gobbler.model.progress import CancelFlag
from gobbler.service.archive import ArchiveContents, LinkMode
from gobbler.service.registry_files import RegistryFiles, registry_path
from gobbler.service.responses import CORS, failure, while_connected

SUFFIX = ".tar"

MAX_DIGITS = 18
"""Largest number of digits of a size; no file needs more."""

_HINT = "Write it like /archive/project/asset/version.tar."

logger = logging.getLogger(__name__)


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


class ArchiveRoute:
    """Serves archives of ``files`` below ``route``; ``threads`` read them."""

    def __init__(self, files: RegistryFiles, route: str, threads: ThreadPoolExecutor) -> None:
        self._files = files
        self._route = route
        self._threads = threads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            request = self._parse(scope)
        except GobblerError as error:
            await failure(error)(scope, receive, send)
            return
        await while_connected(receive, self._answer(request, scope, receive, send))

    def _parse(self, scope: Scope) -> ArchiveRequest:
        try:
            path = unquote_to_bytes(scope["raw_path"]).decode().removeprefix(self._route)
            query = dict(parse_qsl(scope["query_string"].decode("ascii"), keep_blank_values=True))
        except (UnicodeDecodeError, ValueError):
            raise Refused(
                "the path or the query is not valid UTF-8", code=Code.INVALID_NAME
            ) from None
        return parse(path, query)

    async def _answer(
        self, request: ArchiveRequest, scope: Scope, receive: Receive, send: Send
    ) -> None:
        reader = ArchiveReader(self._threads, self._files, request)
        begun = False
        try:
            length = await reader.begin()
            await send({"type": "http.response.start", "status": 200, "headers": _headers(length)})
            begun = True
            if scope["method"] == "GET":
                while (block := await reader.next()) is not None:
                    await send({"type": "http.response.body", "body": block, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        except (GobblerError, OSError) as error:
            fault = (
                error if isinstance(error, GobblerError) else fault_from(error, "read the archive")
            )
            if not begun:
                await failure(fault)(scope, receive, send)
                return
            # The server breaks the connection off: less was sent than announced.
            logger.warning("the archive of %s breaks off: %s", quoted(request.path), fault.reason)
        finally:
            await reader.close()


class ArchiveReader:
    """Reads an archive in threads, one part ahead of what is sent."""

    def __init__(
        self, threads: ThreadPoolExecutor, files: RegistryFiles, request: ArchiveRequest
    ) -> None:
        self._threads = threads
        self._cancel = CancelFlag()
        self._has_length = request.has_length
        self._contents = ArchiveContents(
            files, request.path, request.links, request.max_size, self._cancel
        )
        self._blocks = self._contents.blocks()
        self._ahead: asyncio.Future[Any] | None = None
        self._running: Future[Any] | None = None

    async def begin(self) -> int | None:
        """Find out what the archive holds, and return its length in bytes.

        ``None`` if the client does not want the length; then this reads only the first part.
        """
        if not self._has_length:
            self._ahead = self._read()
            await asyncio.wait({self._ahead})
            self._ahead.result()
            return None
        length: int = await self._start(self._contents.measure)
        return length

    async def next(self) -> bytes | None:
        """The next part; ``None`` at the end."""
        block: bytes | None = await (self._ahead or self._read())
        self._ahead = None if block is None else self._read()
        return block

    def _read(self) -> asyncio.Future[Any]:
        return self._start(lambda: next(self._blocks, None))

    def _start(self, work: Callable[[], object]) -> asyncio.Future[Any]:
        self._running = self._threads.submit(work)
        return asyncio.wrap_future(self._running)

    async def close(self) -> None:
        """Stop reading, and close all files once no thread reads from them.

        They are closed even if this call is cancelled.
        """
        self._cancel.cancel("the client went away", code=Code.CLIENT_GONE)
        if self._ahead is not None:
            self._ahead.cancel()  # nobody awaits it
        closed: Future[None] = Future()
        if self._running is None:
            self._close(closed)
        else:
            self._running.cancel()
            self._running.add_done_callback(lambda _: self._threads.submit(self._close, closed))
        await asyncio.shield(asyncio.wrap_future(closed))

    def _close(self, closed: Future[None]) -> None:
        self._blocks.close()
        self._contents.close()
        closed.set_result(None)


def _headers(length: int | None) -> list[tuple[bytes, bytes]]:
    found = {
        CORS[0]: CORS[1],
        "content-type": "application/x-tar",
        "x-content-type-options": "nosniff",
    }
    if length is not None:
        found["content-length"] = str(length)
    return [(name.encode(), value.encode()) for name, value in found.items()]
