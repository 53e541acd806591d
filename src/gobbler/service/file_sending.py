"""Sends the content of an open file to a client by ``sendfile(2)``, in threads.

The kernel copies from its page cache into the socket. Where the file has to be read first, from a
disk or a server, only a thread waits. A thread does as much as the client takes without a pause;
whoever takes longer is waited for without one.
"""

from __future__ import annotations

import asyncio
import errno
import os
import select
import time
from asyncio.trsock import TransportSocket
from concurrent.futures import Future, ThreadPoolExecutor

TURN = 0.02
"""Seconds after which a thread turns to another file."""

PIECE = 1024 * 1024
"""Bytes of one call: so much may have to be read before a client that left is noticed."""

PATIENCE_MS = 5
"""Milliseconds that a thread waits for a client to take more."""

_NO_SENDFILE = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
"""Some filesystems can't send, as overlays of user space."""


class FileSending:
    """Sends from the file ``descriptor`` through ``socket``; one call at a time.

    Nothing else may send meanwhile. The caller keeps ``descriptor`` open until :meth:`close`, and
    this keeps both open as long as a thread uses them.
    """

    def __init__(
        self, threads: ThreadPoolExecutor, socket: TransportSocket, descriptor: int
    ) -> None:
        self._threads = threads
        self._loop = asyncio.get_running_loop()
        # The server closes its own descriptors when the client leaves, whatever a thread does.
        self._file = os.dup(descriptor)
        try:
            self._socket = os.dup(socket.fileno())
        except BaseException:
            os.close(self._file)
            raise
        self._running: Future[int] | None = None
        self._room: asyncio.Future[None] | None = None

    async def some(self, start: int, stop: int) -> int:
        """Send some bytes from ``start`` on; how many. 0: the client takes no more now.

        Raises ``OSError``, also if the file ends before ``stop``.
        """
        self._running = self._threads.submit(_send, self._socket, self._file, start, stop)
        return await asyncio.wrap_future(self._running)

    async def room(self) -> None:
        """Wait until the client takes more."""
        room = self._room = self._loop.create_future()
        self._loop.add_writer(self._socket, _set, room)
        try:
            await room
        finally:
            self._loop.remove_writer(self._socket)

    def close(self) -> None:
        """Let go of file and socket, as soon as no thread uses them."""
        if self._running is None:
            self._close()
        else:
            self._running.cancel()
            self._running.add_done_callback(lambda _: self._close())

    def _close(self) -> None:
        os.close(self._socket)
        os.close(self._file)


def _set(room: asyncio.Future[None]) -> None:
    if not room.done():
        room.set_result(None)


def _send(socket: int, file: int, start: int, stop: int) -> int:
    ends = time.monotonic() + TURN
    offset = start
    while offset < stop and time.monotonic() < ends:
        try:
            sent = os.sendfile(socket, file, offset, min(PIECE, stop - offset))
        except BlockingIOError:
            if not _takes_more(socket):
                break
            continue
        except OSError as error:
            if error.errno not in _NO_SENDFILE:
                raise
            return offset - start + _copy(socket, file, offset, stop)
        if not sent:
            raise OSError(errno.EIO, "the file became shorter while it was sent")
        offset += sent
    return offset - start


def _takes_more(socket: int) -> bool:
    poll = select.poll()
    poll.register(socket, select.POLLOUT)
    return bool(poll.poll(PATIENCE_MS))


def _copy(socket: int, file: int, start: int, stop: int) -> int:
    """Do so where the filesystem can't: a part that is read, and sent as far as it goes."""
    part = os.pread(file, min(PIECE, stop - start), start)
    if not part:
        raise OSError(errno.EIO, "the file became shorter while it was sent")
    try:
        return os.write(socket, part)
    except BlockingIOError:
        return 0
