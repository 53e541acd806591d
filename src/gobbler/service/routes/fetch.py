"""``GET /fetch/{path}``: the files of a registry.

The event loop never waits for a filesystem, so a mount that hangs keeps no other answer back. It
opens and reads a file itself only if the kernel has path and content in its cache; everything
else happens in threads. Which links are followed is decided in
:mod:`gobbler.service.registry_files`.

A bare ASGI endpoint, because this is the hot path.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import mimetypes
import os
import posixpath
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from urllib.parse import unquote_to_bytes

from starlette.types import Receive, Scope, Send

from gobbler.errors import Busy, Code, GobblerError, Refused
from gobbler.model.names import LOGS, is_internal
from gobbler.service.range_requests import Decision, FileState, decide
from gobbler.service.registry_files import RegistryFiles, not_there, registry_path
from gobbler.service.responses import (
    ALWAYS,
    SANDBOX,
    encoded,
    failure,
    json_answer,
    while_connected,
)
from gobbler.service.transfers import Transfer, Transfers

CONDITIONAL = {
    name.encode(): name
    for name in (
        *("if-match", "if-none-match", "if-modified-since", "if-unmodified-since"),
        *("if-range", "range"),
    )
}
"""The headers that decide what is sent."""

_ALWAYS = (*encoded(ALWAYS), (b"accept-ranges", b"bytes"))

ONE_MESSAGE = 64 * 1024
"""Bytes up to which a file is sent in one message."""

Read = Callable[[int, int, int], "bytes | None"]
"""Reads from a descriptor a number of bytes at an offset; ``None``: not all are in the cache."""


class OpenFile:
    """A file that is being sent, and how; its descriptor is closed after the last read."""

    def __init__(
        self, descriptor: int, conditions: Mapping[str, str], *, has_body: bool, read: Read
    ) -> None:
        self._descriptor = descriptor
        self._reading: Future[bytes] | None = None
        status = os.fstat(descriptor)
        self.state = FileState(status.st_size, status.st_mtime_ns, status.st_ino)
        self.decision = decide(conditions, self.state)
        count = self.decision.stop - self.decision.start
        self.body: bytes | None = None
        if not has_body or self.decision.status == 304 or count == 0:
            self.body = b""
        elif count <= ONE_MESSAGE:
            self.body = read(descriptor, count, self.decision.start)

    def read(self, threads: ThreadPoolExecutor, offset: int, size: int) -> asyncio.Future[bytes]:
        """Read a part of ``size`` bytes, or the rest, in a thread; one at a time."""
        count = min(size, self.decision.stop - offset)
        self._reading = threads.submit(_read, self._descriptor, count, offset)
        return asyncio.wrap_future(self._reading)

    def close(self) -> None:
        """Close the file, or leave that to the thread that still reads from it."""
        if self._reading is None:
            os.close(self._descriptor)
        else:
            self._reading.cancel()
            self._reading.add_done_callback(lambda _: os.close(self._descriptor))


class FetchRoute:
    """Serves ``files`` below ``route``.

    ``threads`` open them and read small ones; the parts of others are read by threads of
    ``transfers``, so that small files never wait for large ones.
    """

    def __init__(
        self, files: RegistryFiles, route: str, threads: ThreadPoolExecutor, transfers: Transfers
    ) -> None:
        self._files = files
        self._route = route
        self._threads = threads
        self._transfers = transfers
        self._read_cached: Read = _read_cached
        mimetypes.init()  # not in the event loop: it reads files

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        conditions = {
            CONDITIONAL[name]: value.decode("latin-1")
            for name, value in scope["headers"]
            if name in CONDITIONAL
        }
        has_body = scope["method"] != "HEAD"
        try:
            path = self._path(scope["raw_path"])
            file = self._open_cached(path, conditions, has_body=has_body)
        except GobblerError as error:
            await failure(error)(scope, receive, send)
            return
        if file is None:
            await while_connected(
                receive, self._answer(scope, receive, send, path, conditions, has_body=has_body)
            )
            return
        try:
            if file.body is not None:
                await self._send(scope, receive, send, path, file)
            else:
                await while_connected(receive, self._send(scope, receive, send, path, file))
        finally:
            file.close()

    async def _answer(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        path: str,
        conditions: Mapping[str, str],
        *,
        has_body: bool,
    ) -> None:
        opening = self._threads.submit(self._open, path, conditions, has_body=has_body)
        try:
            file = await asyncio.wrap_future(opening)
        except GobblerError as error:
            await failure(error)(scope, receive, send)
            return
        except asyncio.CancelledError:
            opening.add_done_callback(_close_opened)
            raise
        try:
            await self._send(scope, receive, send, path, file)
        finally:
            self._threads.submit(file.close)

    def _open_cached(
        self, path: str, conditions: Mapping[str, str], *, has_body: bool
    ) -> OpenFile | None:
        descriptor = self._files.open_cached(path)
        if descriptor is None:
            return None
        return _opened(descriptor, path, conditions, has_body=has_body, read=self._read_now)

    def _read_now(self, descriptor: int, count: int, offset: int) -> bytes | None:
        try:
            return self._read_cached(descriptor, count, offset)
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                return None  # the thread that reads it next reports it
        # tmpfs can't say what is in memory, because all of it is.
        self._read_cached = _read
        return _read(descriptor, count, offset)

    def _open(self, path: str, conditions: Mapping[str, str], *, has_body: bool) -> OpenFile:
        descriptor = self._files.open(path)
        return _opened(descriptor, path, conditions, has_body=has_body, read=_read)

    async def _send(
        self, scope: Scope, receive: Receive, send: Send, path: str, file: OpenFile
    ) -> None:
        if file.decision.status in _REFUSALS:
            await _refuse(scope, receive, send, file)
            return
        start = {
            "type": "http.response.start",
            "status": file.decision.status,
            "headers": _headers(file.decision, file.state, path),
        }
        if file.body is not None:
            await send(start)
            await send({"type": "http.response.body", "body": file.body})
            return
        try:
            async with self._transfers.begin(scope, send) as transfer:
                await send(start)
                await self._send_parts(transfer, file)
        except Busy as error:
            await failure(error)(scope, receive, send)

    async def _send_parts(self, transfer: Transfer, file: OpenFile) -> None:
        threads, size = self._transfers.threads, transfer.part_size
        offset, stop = file.decision.start, file.decision.stop
        reading = file.read(threads, offset, size)
        while True:
            part = await reading
            offset += len(part)
            if offset >= stop:
                break
            reading = file.read(threads, offset, size)  # while this part is sent
            await transfer.send(part)
        await transfer.end(part)

    def _path(self, raw: bytes) -> str:
        try:
            path = unquote_to_bytes(raw).decode().removeprefix(self._route)
        except UnicodeDecodeError:
            raise Refused("the path is not valid UTF-8", code=Code.INVALID_NAME) from None
        return registry_path(path)


def _opened(
    descriptor: int, path: str, conditions: Mapping[str, str], *, has_body: bool, read: Read
) -> OpenFile:
    try:
        return OpenFile(descriptor, conditions, has_body=has_body, read=read)
    except BaseException as error:
        os.close(descriptor)
        if isinstance(error, OSError):
            raise not_there(error, path) from None
        raise


def _close_opened(opening: Future[OpenFile]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


def _headers(decision: Decision, file: FileState, path: str) -> list[tuple[bytes, bytes]]:
    validators = (
        (b"etag", file.etag.encode()),
        (b"last-modified", file.last_modified.encode()),
    )
    if decision.status == 304:
        return [*_ALWAYS, *validators]
    length = (b"content-length", b"%d" % (decision.stop - decision.start))
    found = [*_of_type(path), *validators, length]
    if decision.status == 206:
        part = b"bytes %d-%d/%d" % (decision.start, decision.stop - 1, file.size)
        found.append((b"content-range", part))
    return found


def _of_type(path: str) -> tuple[tuple[bytes, bytes], ...]:
    """The headers that are the same for all files of a type, with what a browser may do."""
    name = path.rpartition("/")[2]
    if is_internal(name) or path.startswith(LOGS + "/"):
        return _JSON
    return _guessed(posixpath.splitext(name)[1])


_PDF = "application/pdf"


def _headers_of(media_type: str) -> tuple[tuple[bytes, bytes], ...]:
    headers = {"content-type": media_type}
    if media_type != _PDF:  # browsers show no PDF in a sandbox, and run no script of it outside
        headers["content-security-policy"] = SANDBOX
    return (*_ALWAYS, *encoded(headers))


_JSON = _headers_of("application/json")


@functools.lru_cache(1024)
def _guessed(extension: str) -> tuple[tuple[bytes, bytes], ...]:
    guess, encoding = mimetypes.guess_type("name" + extension)
    # A compressed file is sent as it is: naming its encoding would make clients unpack it.
    if encoding is not None or guess is None:
        guess = "application/octet-stream"
    return _headers_of(f"{guess}; charset=utf-8" if guess.startswith("text/") else guess)


_REFUSALS = {
    412: (Code.PRECONDITION_FAILED, "the file is not the one that the request's condition names"),
    416: (Code.INVALID_RANGE, "the range starts behind the end of the file"),
}


async def _refuse(scope: Scope, receive: Receive, send: Send, file: OpenFile) -> None:
    code, reason = _REFUSALS[file.decision.status]
    body = {"status": "ERROR", "reason": reason, "code": code.value}
    answer = json_answer(body, file.decision.status)
    answer.headers["etag"] = file.state.etag
    if file.decision.status == 416:
        answer.headers["content-range"] = f"bytes */{file.state.size}"
    await answer(scope, receive, send)


def _read(descriptor: int, count: int, offset: int) -> bytes:
    part = os.pread(descriptor, count, offset)
    if not part:
        raise OSError(errno.EIO, "the file became shorter while it was sent")
    return part


def _read_cached(descriptor: int, count: int, offset: int) -> bytes | None:
    """The same as ``_read``, if the kernel has all of it in its cache."""
    buffer = bytearray(count)
    try:
        found = os.preadv(descriptor, [buffer], offset, os.RWF_NOWAIT)
    except BlockingIOError:
        return None
    return bytes(buffer) if found == count else None
