"""``GET /fetch/{path}``: files of the registry.

A bare ASGI endpoint, for this is the hot path. Which links are followed is told in
:mod:`gobbler.service.registry_files`; all that is sent comes from the descriptor that it opened.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import mimetypes
import os
import posixpath
from concurrent.futures import Executor
from urllib.parse import unquote_to_bytes

from starlette.types import Receive, Scope, Send

from gobbler.errors import Code, GobblerError, Refused
from gobbler.model.names import LOGS, is_internal
from gobbler.service.range_requests import Decision, File, decide
from gobbler.service.registry_files import Files, registry_path
from gobbler.service.responses import CORS, failure, json_answer, while_there

PART = 1024 * 1024
"""Bytes that are read and sent at a time."""

CONDITIONAL = {
    name.encode(): name
    for name in (
        *("if-match", "if-none-match", "if-modified-since", "if-unmodified-since"),
        *("if-range", "range"),
    )
}
"""The headers that matter for what is sent."""

_ALWAYS = ((CORS[0].encode(), CORS[1].encode()), (b"accept-ranges", b"bytes"))

AT_ONCE = 64 * 1024
"""Bytes that are read in the event loop itself: going to a thread would take longer."""


class Fetching:
    """Serves ``files`` below ``route``; large ones are read in ``threads``."""

    def __init__(self, files: Files, route: str, threads: Executor) -> None:
        self._files = files
        self._route = route
        self._threads = threads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            path = self._path(scope["raw_path"])
            descriptor = self._files.open(path)
        except GobblerError as error:
            await failure(error)(scope, receive, send)
            return
        try:
            await self._send(scope, receive, send, descriptor, path)
        finally:
            os.close(descriptor)

    async def _send(
        self, scope: Scope, receive: Receive, send: Send, descriptor: int, path: str
    ) -> None:
        status = os.fstat(descriptor)
        file = File(status.st_size, status.st_mtime_ns, status.st_ino)
        headers = {
            CONDITIONAL[name]: value.decode("latin-1")
            for name, value in scope["headers"]
            if name in CONDITIONAL
        }
        decision = decide(headers, file)
        if decision.status in (412, 416):
            await _refuse(scope, receive, send, decision, file)
            return
        await send(
            {
                "type": "http.response.start",
                "status": decision.status,
                "headers": _headers(decision, file, path),
            }
        )
        if decision.status == 304 or scope["method"] == "HEAD" or decision.start == decision.stop:
            await send({"type": "http.response.body", "body": b""})
        else:
            await _send_part(receive, send, self._threads, descriptor, decision)

    def _path(self, raw: bytes) -> str:
        try:
            path = unquote_to_bytes(raw).decode().removeprefix(self._route)
        except UnicodeDecodeError:
            raise Refused("the path is not valid UTF-8", code=Code.INVALID_NAME) from None
        return registry_path(path)


def _headers(decision: Decision, file: File, path: str) -> list[tuple[bytes, bytes]]:
    found = [
        *_ALWAYS,
        (b"etag", file.etag.encode()),
        (b"last-modified", file.last_modified.encode()),
    ]
    if decision.status != 304:
        found += (
            (b"content-type", _media_type(path)),
            (b"x-content-type-options", b"nosniff"),
            (b"content-length", b"%d" % (decision.stop - decision.start)),
        )
    if decision.status == 206:
        part = b"bytes %d-%d/%d" % (decision.start, decision.stop - 1, file.size)
        found.append((b"content-range", part))
    return found


def _media_type(path: str) -> bytes:
    name = path.rpartition("/")[2]
    if is_internal(name) or path.startswith(LOGS + "/"):
        return b"application/json"
    return _guessed(posixpath.splitext(name)[1]).encode()


@functools.lru_cache(1024)
def _guessed(extension: str) -> str:
    name = "name" + extension
    guess, encoding = mimetypes.guess_type(name)
    # A compressed file is sent as it is: naming its encoding would make clients unpack it.
    if encoding is not None or guess is None:
        return "application/octet-stream"
    return f"{guess}; charset=utf-8" if guess.startswith("text/") else guess


_REFUSALS = {
    412: (Code.PRECONDITION_FAILED, "the file is not the one that the request's condition names"),
    416: (Code.INVALID_RANGE, "the range starts behind the end of the file"),
}


async def _refuse(
    scope: Scope, receive: Receive, send: Send, decision: Decision, file: File
) -> None:
    code, reason = _REFUSALS[decision.status]
    body = {"status": "ERROR", "reason": reason, "code": code.value}
    answer = json_answer(body, decision.status)
    answer.headers["etag"] = file.etag
    if decision.status == 416:
        answer.headers["content-range"] = f"bytes */{file.size}"
    await answer(scope, receive, send)


async def _send_part(
    receive: Receive, send: Send, threads: Executor, descriptor: int, decision: Decision
) -> None:
    count = decision.stop - decision.start
    if count <= AT_ONCE:
        part = _read(descriptor, count, decision.start)
        await send({"type": "http.response.body", "body": part})
        return
    await while_there(receive, _send_parts(send, threads, descriptor, decision))


async def _send_parts(send: Send, threads: Executor, descriptor: int, decision: Decision) -> None:
    loop = asyncio.get_running_loop()

    def read(offset: int) -> asyncio.Future[bytes]:
        count = min(PART, decision.stop - offset)
        return loop.run_in_executor(threads, _read, descriptor, count, offset)

    offset = decision.start
    reading = read(offset)
    try:
        while offset < decision.stop:
            part = await reading
            offset += len(part)
            more = offset < decision.stop
            if more:
                reading = read(offset)  # while this part is sent
            await send({"type": "http.response.body", "body": part, "more_body": more})
    finally:
        reading.cancel()


def _read(descriptor: int, count: int, offset: int) -> bytes:
    part = os.pread(descriptor, count, offset)
    if not part:
        raise OSError(errno.EIO, "the file became shorter while it was sent")
    return part
