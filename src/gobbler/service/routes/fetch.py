"""``GET /fetch/{path}``: the files of a registry.

The event loop never waits for a filesystem, so a mount that hangs keeps no other answer back. It
opens and reads a file itself only if the kernel has path and content in its cache; everything
else happens in threads. Which links are followed is decided in
:mod:`gobbler.service.registry_files`.

This is the hot path.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import mimetypes
import os
import posixpath
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

from gobbler.errors import Code, Refused, quoted
from gobbler.model.names import LOGS, is_internal
from gobbler.service.http.answer import Answer, lines
from gobbler.service.http.exchange import Exchange
from gobbler.service.range_requests import Decision, FileState, decide
from gobbler.service.recent_files import RecentFiles
from gobbler.service.registry_files import Opened, RegistryFiles, not_there, registry_path
from gobbler.service.responses import ALWAYS, SANDBOX, answer_or_break_off, json_answer
from gobbler.service.transfers import Transfers

CONDITIONAL = {
    name.encode(): name
    for name in (
        *("if-match", "if-none-match", "if-modified-since", "if-unmodified-since"),
        *("if-range", "range"),
    )
}
"""The headers that decide what is sent."""

_ALWAYS = lines({**ALWAYS, "accept-ranges": "bytes"})

ONE_MESSAGE = 64 * 1024
"""Bytes up to which a file is sent in one message."""

Read = Callable[[int, int, int], "bytes | None"]
"""Reads from a descriptor a number of bytes at an offset; ``None``: not all are in the cache."""


class Found(NamedTuple):
    """A file, and how it is sent; ``body``: ``None`` if the content must still be read."""

    descriptor: int
    state: FileState
    decision: Decision
    body: bytes | None


class FetchRoute:
    """Serves ``files`` below ``route``.

    ``threads`` open them and read small ones; others are sent by threads of ``transfers``, so that
    small files never wait for large ones.
    """

    def __init__(
        self, files: RegistryFiles, route: str, threads: ThreadPoolExecutor, transfers: Transfers
    ) -> None:
        self._files = files
        self._route = route
        self._threads = threads
        self._transfers = transfers
        self._recent = RecentFiles(files.directory) if files.is_local else None
        self._read_cached: Read = _read_cached
        mimetypes.init()  # not in the event loop: it reads files

    def __call__(self, exchange: Exchange) -> Coroutine[Any, Any, None] | None:
        """Answer one request, or return what does so in a task.

        Raises :class:`~gobbler.errors.GobblerError`.
        """
        conditions = {
            CONDITIONAL[name]: value.decode("latin-1")
            for name, value in exchange.headers
            if name in CONDITIONAL
        }
        has_body = exchange.method != "HEAD"
        path = self._path(exchange.raw_path)
        found = self._find_now(path, conditions, has_body)
        if found is not None and (answer := _whole(found, path)) is not None:
            exchange.answer(answer)
            return None
        return self._open_and_send(exchange, path, conditions, has_body)

    def _find_now(self, path: str, conditions: Mapping[str, str], has_body: bool) -> Found | None:
        """The file at ``path``, already closed again, if that needs no waiting."""
        recent = self._recent
        if recent is not None and (known := recent.get(path)) is not None:
            return _known(*known, conditions, has_body)
        opened = self._files.open_cached(path)
        if opened is None:
            return None
        try:
            found = _found(opened, path, conditions, has_body, self._read_now)
        finally:
            os.close(opened.descriptor)
        status = opened.status
        if recent is not None and found.body is not None and len(found.body) == status.st_size:
            recent.keep(path, status, found.body)
        return found

    async def _open_and_send(
        self, exchange: Exchange, path: str, conditions: Mapping[str, str], has_body: bool
    ) -> None:
        opening = self._threads.submit(self._open, path, conditions, has_body)
        try:
            found = await asyncio.wrap_future(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close_opened)
            raise
        try:
            if (answer := _whole(found, path)) is not None:
                exchange.answer(answer)
            else:
                await self._send(exchange, path, found)
        finally:
            self._threads.submit(os.close, found.descriptor)

    def _read_now(self, descriptor: int, count: int, offset: int) -> bytes | None:
        try:
            return self._read_cached(descriptor, count, offset)
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                return None  # the thread that reads it next reports it
        # tmpfs can't say what is in memory, because all of it is.
        self._read_cached = _read
        return _read(descriptor, count, offset)

    def _open(self, path: str, conditions: Mapping[str, str], has_body: bool) -> Found:
        opened = self._files.open(path)
        try:
            return _found(opened, path, conditions, has_body, _read)
        except BaseException:
            os.close(opened.descriptor)
            raise

    async def _send(self, exchange: Exchange, path: str, found: Found) -> None:
        """Send a file that is too large for one message, or not in the kernel's cache."""
        decision = found.decision
        async with self._transfers.begin(exchange) as transfer:
            head = _head(decision, found.state, path)
            exchange.begin(decision.status, head, decision.stop - decision.start)
            await answer_or_break_off(
                f"send {quoted(path)}",
                exchange,
                transfer.send_file(found.descriptor, decision.start, decision.stop),
            )

    def _path(self, raw: bytes) -> str:
        try:
            path = (unquote_to_bytes(raw) if b"%" in raw else raw).decode()
        except UnicodeDecodeError:
            raise Refused("the path is not valid UTF-8", code=Code.INVALID_NAME) from None
        return registry_path(path.removeprefix(self._route))


def _known(
    status: os.stat_result, content: bytes, conditions: Mapping[str, str], has_body: bool
) -> Found:
    state = FileState(status.st_size, status.st_mtime_ns, status.st_ino)
    decision = decide(conditions, state)
    body = content[decision.start : decision.stop] if has_body else b""
    return Found(-1, state, decision, body)


def _found(
    opened: Opened, path: str, conditions: Mapping[str, str], has_body: bool, read: Read
) -> Found:
    descriptor, status = opened
    state = FileState(status.st_size, status.st_mtime_ns, status.st_ino)
    decision = decide(conditions, state)
    count = decision.stop - decision.start
    body: bytes | None = None
    if not has_body or count == 0:
        body = b""
    elif count <= ONE_MESSAGE:
        try:
            body = read(descriptor, count, decision.start)
        except OSError as error:
            raise not_there(error, path) from None
    return Found(descriptor, state, decision, body)


def _close_opened(opening: Future[Found]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        os.close(opening.result().descriptor)


def _whole(found: Found, path: str) -> Answer | None:
    """The answer if it is complete; ``None`` if the content must still be read."""
    _, state, decision, body = found
    if decision.status in _REFUSALS:
        return _refusal(decision.status, state)
    if body is None:
        return None
    head = _head(decision, state, path)
    return Answer(decision.status, head, body, decision.stop - decision.start)


def _head(decision: Decision, file: FileState, path: str) -> bytes:
    if decision.status == 304:
        return _ALWAYS + _validators(file)
    if decision.status == 206:
        part = (decision.start, decision.stop - 1, file.size)
        return _file_head(path, file) + b"content-range: bytes %d-%d/%d\r\n" % part
    return _file_head(path, file)


@functools.lru_cache(1024)
def _file_head(path: str, file: FileState) -> bytes:
    """The headers that are the same in all answers with a file in one state."""
    return _of_type(path) + _validators(file)


def _validators(file: FileState) -> bytes:
    return f"etag: {file.etag}\r\nlast-modified: {file.last_modified}\r\n".encode()


def _of_type(path: str) -> bytes:
    """The headers that are the same for all files of a type, with what a browser may do."""
    name = path.rpartition("/")[2]
    if is_internal(name) or path.startswith(LOGS + "/"):
        return _JSON
    return _guessed(posixpath.splitext(name)[1])


_PDF = "application/pdf"


def _head_of(media_type: str) -> bytes:
    headers = {"content-type": media_type}
    if media_type != _PDF:  # browsers show no PDF in a sandbox, and run no script of it outside
        headers["content-security-policy"] = SANDBOX
    return _ALWAYS + lines(headers)


_JSON = _head_of("application/json")


@functools.lru_cache(1024)
def _guessed(extension: str) -> bytes:
    guess, encoding = mimetypes.guess_type("name" + extension)
    # A compressed file is sent as it is: naming its encoding would make clients unpack it.
    if encoding is not None or guess is None:
        guess = "application/octet-stream"
    return _head_of(f"{guess}; charset=utf-8" if guess.startswith("text/") else guess)


_REFUSALS = {
    412: (Code.PRECONDITION_FAILED, "the file is not the one that the request's condition names"),
    416: (Code.INVALID_RANGE, "the range starts behind the end of the file"),
}


def _refusal(status: int, file: FileState) -> Answer:
    code, reason = _REFUSALS[status]
    body = {"status": "ERROR", "reason": reason, "code": code.value}
    headers = {"etag": file.etag}
    if status == 416:
        headers["content-range"] = f"bytes */{file.size}"
    return json_answer(body, status).with_headers(headers)


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
