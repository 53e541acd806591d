"""``GET /fetch/{path}``: files of the registry.

A bare ASGI endpoint, for this is the hot path. The file is opened once, following no link
but those that lead to a file of the registry or below a whitelisted directory; all that is
sent comes from that descriptor.
"""

from __future__ import annotations

import asyncio
import errno
import mimetypes
import os
import posixpath
import stat
from concurrent.futures import Executor
from contextlib import suppress
from urllib.parse import unquote_to_bytes

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gobbler.disk.opening import kind_of, open_beneath, open_directory
from gobbler.errors import Fault, GobblerError, Missing, Refused, quoted
from gobbler.names import has_internal, is_internal
from gobbler.rules.links import absolute_target, below
from gobbler.service.answers import CORS, failure
from gobbler.service.asgi import disconnected
from gobbler.service.conditional import Decision, File, decide
from gobbler.service.listing import registry_path

HOPS = 8
"""Links of links that are followed at most; what the service writes needs one."""

PART = 1024 * 1024
"""Bytes that are read and sent at a time."""

AT_ONCE = 64 * 1024
"""Bytes that are read in the event loop itself: going to a thread would take longer."""

FLAGS = os.O_RDONLY | os.O_NONBLOCK


class Fetching:
    """Serves the files of one registry; large ones are read in ``threads``."""

    def __init__(
        self, registry: str, whitelist: tuple[str, ...], route: str, threads: Executor
    ) -> None:
        self._threads = threads
        self._registry = registry
        self._whitelist = whitelist
        self._route = route
        self._directory = open_directory(registry)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            path = self._path(scope["raw_path"])
            descriptor = self.open(path)
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
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
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
            raise Refused("the path is not valid UTF-8") from None
        return registry_path(path)

    def open(self, path: str) -> int:
        """Open the file at ``path`` of the registry for reading.

        Raises :class:`~gobbler.errors.Missing` for what is not there, is no file, or is a
        link to elsewhere.
        """
        where = path
        for _ in range(HOPS):
            try:
                return _checked(open_beneath(self._directory, where, FLAGS), path)
            except OSError as error:
                if error.errno != errno.ELOOP:
                    raise _not_there(error, path) from None
            target = absolute_target(
                posixpath.dirname(f"{self._registry}/{where}"), self._text(where, path)
            )
            inner = below(target, self._registry)
            if inner is None:
                return self._open_whitelisted(target, path)
            if has_internal(inner):
                break
            where = inner
        raise Missing(f"{quoted(path)} is a link that leads to no file of the registry")

    def _text(self, where: str, path: str) -> str:
        try:
            return os.readlink(where, dir_fd=self._directory)
        except OSError as error:
            raise _not_there(error, path) from None

    def _open_whitelisted(self, target: str, path: str) -> int:
        for root in self._whitelist:
            inner = below(target, root)
            if inner:
                try:
                    directory = open_directory(root)
                    try:
                        return _checked(open_beneath(directory, inner, FLAGS), path)
                    finally:
                        os.close(directory)
                except OSError as error:
                    raise _not_there(error, path) from None
        raise Missing(
            f"{quoted(path)} is a link that leads out of the registry and the "
            "whitelisted directories"
        )


def _not_there(error: OSError, path: str) -> GobblerError:
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO):
        return Missing(f"{quoted(path)} does not exist in the registry")
    return Fault(f"{quoted(path)} can't be read: {error.strerror}")


def _checked(descriptor: int, path: str) -> int:
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    hint = "Use /list to see what is in it." if stat.S_ISDIR(mode) else ""
    raise Missing(f"{quoted(path)} is {kind_of(mode)}, not a file", hint=hint)


def _headers(decision: Decision, file: File, path: str) -> list[tuple[bytes, bytes]]:
    found = {
        CORS[0]: CORS[1],
        "accept-ranges": "bytes",
        "etag": file.etag,
        "last-modified": file.last_modified,
    }
    if decision.status != 304:
        found["content-type"] = _media_type(path)
        found["x-content-type-options"] = "nosniff"
        found["content-length"] = str(decision.stop - decision.start)
    if decision.status == 206:
        found["content-range"] = f"bytes {decision.start}-{decision.stop - 1}/{file.size}"
    return [(name.encode(), value.encode()) for name, value in found.items()]


def _media_type(path: str) -> str:
    name = posixpath.basename(path)
    if is_internal(name) or "/..logs/" in f"/{path}":
        return "application/json"
    guess, encoding = mimetypes.guess_type(name)
    # A compressed file is sent as it is: naming its encoding would make clients unpack it.
    if encoding is not None or guess is None:
        return "application/octet-stream"
    return f"{guess}; charset=utf-8" if guess.startswith("text/") else guess


async def _refuse(
    scope: Scope, receive: Receive, send: Send, decision: Decision, file: File
) -> None:
    headers = {CORS[0]: CORS[1], "etag": file.etag}
    if decision.status == 416:
        headers["content-range"] = f"bytes */{file.size}"
    await Response(status_code=decision.status, headers=headers)(scope, receive, send)


async def _send_part(
    receive: Receive, send: Send, threads: Executor, descriptor: int, decision: Decision
) -> None:
    count = decision.stop - decision.start
    if count <= AT_ONCE:
        part = _read(descriptor, count, decision.start)
        await send({"type": "http.response.body", "body": part})
        return
    # Sending to a client that is gone would wait for ever, and keep the file open.
    sending = asyncio.ensure_future(_send_parts(send, threads, descriptor, decision))
    gone = asyncio.ensure_future(disconnected(receive))
    try:
        await asyncio.wait({sending, gone}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        gone.cancel()
        if not sending.done():
            sending.cancel()
    with suppress(asyncio.CancelledError):
        await sending


async def _send_parts(send: Send, threads: Executor, descriptor: int, decision: Decision) -> None:
    loop = asyncio.get_running_loop()
    offset = decision.start
    while offset < decision.stop:
        count = min(PART, decision.stop - offset)
        part = await loop.run_in_executor(threads, _read, descriptor, count, offset)
        offset += len(part)
        await send(
            {"type": "http.response.body", "body": part, "more_body": offset < decision.stop}
        )


def _read(descriptor: int, count: int, offset: int) -> bytes:
    part = os.pread(descriptor, count, offset)
    if not part:
        raise OSError(errno.EIO, "the file became shorter while it was sent")
    return part
