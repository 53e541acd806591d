"""``GET /archive/{project}/{asset}/{version}.tar``: a version as one stream.

What is read is put together in threads, and sent while the next part is being read. The
length is told beforehand: whatever breaks off is seen to be too short by every client, also
through a proxy.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote_to_bytes

from starlette.types import Receive, Scope, Send

from gobbler.errors import Code, GobblerError, Refused, quoted
from gobbler.fs.os_errors import fault_from
from gobbler.model.names import split_path
from gobbler.model.progress import CancelFlag
from gobbler.service.archive import Contents, Links
from gobbler.service.registry_files import Files, registry_path
from gobbler.service.responses import CORS, failure, while_there

SUFFIX = ".tar"

MAX_DIGITS = 18
"""Of a number of bytes; more are beyond any file."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wanted:
    """What a request asks for: a directory of the registry, and how it is to be packed."""

    path: str
    links: Links
    max_size: int | None
    measured: bool = True


def wanted(path: str, query: Mapping[str, str]) -> Wanted:
    """What ``path``, below the endpoint, and ``query`` ask for.

    Raises :class:`~gobbler.errors.Refused` or :class:`~gobbler.errors.Missing`.
    """
    if not path.endswith(SUFFIX):
        raise Refused(
            f"{quoted(path)} is not the name of an archive",
            hint="Write it like /archive/project/asset/version.tar.",
        )
    directory = registry_path(path.removesuffix(SUFFIX))
    if split_path(directory) is None:
        raise Refused(
            f"{quoted(directory)} is not the path of a version, or of a directory in one",
            hint="Write it like /archive/project/asset/version.tar.",
        )
    links = query.get("links", Links.FILES.value)
    if links not in [each.value for each in Links]:
        raise Refused(f'"links" is {quoted(links)}; it may be "files" or "links"')
    max_size = query.get("max_size")
    if max_size is not None and not _is_number(max_size):
        raise Refused(f'"max_size" is {quoted(max_size)}, which is not a number of bytes')
    length = query.get("length", "true")
    if length not in ("true", "false"):
        raise Refused(f'"length" is {quoted(length)}; it may be "true" or "false"')
    limit = None if max_size is None else int(max_size)
    return Wanted(directory, Links(links), limit, length == "true")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS


class Archiving:
    """Serves archives of what is in ``files`` below ``route``, read in ``threads``."""

    def __init__(self, files: Files, route: str, threads: Executor) -> None:
        self._files = files
        self._route = route
        self._threads = threads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            asked = self._wanted(scope)
        except GobblerError as error:
            await failure(error)(scope, receive, send)
            return
        await while_there(receive, self._answer(asked, scope, receive, send))

    def _wanted(self, scope: Scope) -> Wanted:
        try:
            path = unquote_to_bytes(scope["raw_path"]).decode().removeprefix(self._route)
            query = dict(parse_qsl(scope["query_string"].decode("ascii"), keep_blank_values=True))
        except (UnicodeDecodeError, ValueError):
            raise Refused(
                "the path or the query is not valid UTF-8", code=Code.INVALID_NAME
            ) from None
        return wanted(path, query)

    async def _answer(self, asked: Wanted, scope: Scope, receive: Receive, send: Send) -> None:
        reading = Reading(self._threads, self._files, asked)
        begun = False
        try:
            length = await reading.begin()
            await send({"type": "http.response.start", "status": 200, "headers": _headers(length)})
            begun = True
            if scope["method"] == "GET":
                while (block := await reading.next()) is not None:
                    await send({"type": "http.response.body", "body": block, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        except (GobblerError, OSError) as error:
            told = (
                error if isinstance(error, GobblerError) else fault_from(error, "read the archive")
            )
            if not begun:
                await failure(told)(scope, receive, send)
                return
            # The server breaks the connection off where less was sent than was announced.
            logger.warning("the archive of %s breaks off: %s", quoted(asked.path), told.reason)
        finally:
            await reading.end()


class Reading:
    """The parts of an archive, the next of which is read while one is being sent."""

    def __init__(self, threads: Executor, files: Files, asked: Wanted) -> None:
        self._threads = threads
        self._cancel = CancelFlag()
        self._measured = asked.measured
        self._contents = Contents(files, asked.path, asked.links, asked.max_size, self._cancel)
        self._blocks = self._contents.blocks()
        self._running: asyncio.Future[Any] | None = None

    async def begin(self) -> int | None:
        """Look at what there is; answer the length of the archive in bytes.

        ``None`` if that is not wanted: then all that is known is that there is a beginning.
        """
        if not self._measured:
            await asyncio.shield(self._read())
            return None
        length: int = await asyncio.shield(self._start(self._contents.measure))
        self._running = None
        return length

    async def next(self) -> bytes | None:
        """The next part; ``None`` at the end."""
        block: bytes | None = await asyncio.shield(self._running or self._read())
        self._running = None if block is None else self._read()
        return block

    def _read(self) -> asyncio.Future[Any]:
        return self._start(lambda: next(self._blocks, None))

    def _start(self, work: Callable[[], object]) -> asyncio.Future[Any]:
        self._running = asyncio.get_running_loop().run_in_executor(self._threads, work)
        return self._running

    async def end(self) -> None:
        """Close all files, once no thread is reading them any more."""
        self._cancel.cancel("the client went away", code=Code.CLIENT_GONE)
        if self._running is not None:
            await asyncio.wait({self._running})
            if not self._running.cancelled():
                self._running.exception()  # nobody else asks for it
        await asyncio.shield(self._start(self._close))

    def _close(self) -> None:
        self._blocks.close()
        self._contents.close()


def _headers(length: int | None) -> list[tuple[bytes, bytes]]:
    found = {
        CORS[0]: CORS[1],
        "content-type": "application/x-tar",
        "x-content-type-options": "nosniff",
    }
    if length is not None:
        found["content-length"] = str(length)
    return [(name.encode(), value.encode()) for name, value in found.items()]
