"""The channel between a process of a local pool and the process that it works for.

A message is a kind, and bytes: a pickle, since both run the same code, and nobody else has an end.
"""

from __future__ import annotations

import enum
import socket
import struct
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

_HEADER = struct.Struct("!BQ")

_RECEIVED_BYTES = 256 * 1024
"""Bytes to receive at a time."""


class Kind(enum.IntEnum):
    """What a message is."""

    HELLO = 1
    WORK = 2
    PROGRESS = 3
    RESULT = 4
    FAILURE = 5
    LOG = 6


class Message(NamedTuple):
    """A message."""

    kind: Kind
    content: bytes


class ChannelClosed(Exception):
    """The process at the other end has ended."""


def send(end: socket.socket, kind: Kind, content: bytes) -> None:
    """Send a message, and wait until it is sent. Raises :class:`ChannelClosed`."""
    try:
        end.sendall(_HEADER.pack(kind, len(content)) + content)
    except ConnectionError:
        raise ChannelClosed from None


def receive(end: socket.socket) -> Message:
    """Wait for a message. Raises :class:`ChannelClosed`."""
    kind, size = _HEADER.unpack(_receive(end, _HEADER.size))
    return Message(Kind(kind), _receive(end, size))


def _receive(end: socket.socket, size: int) -> bytes:
    parts = []
    while size:
        try:
            part = end.recv(min(size, _RECEIVED_BYTES))
        except ConnectionError:
            part = b""
        if not part:
            raise ChannelClosed
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


class Channel:
    """The end of the process that gives out work, which never waits for the other one.

    A process that is at work does not read. If both waited until the other one has read, neither
    would go on.
    """

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._end.setblocking(False)
        self._unsent: deque[memoryview] = deque()
        self._received = bytearray()

    def fileno(self) -> int:
        """The descriptor, for ``poll``; -1 once it is closed."""
        return self._end.fileno()

    @property
    def has_unsent(self) -> bool:
        """Whether :meth:`flush` has more to send."""
        return bool(self._unsent)

    def send(self, kind: Kind, content: bytes) -> None:
        """Send a message, now or later. Raises :class:`ChannelClosed`."""
        self._unsent += (memoryview(_HEADER.pack(kind, len(content))), memoryview(content))
        self.flush()

    def flush(self) -> None:
        """Send as much as the other end has room for. Raises :class:`ChannelClosed`."""
        with suppress(BlockingIOError):
            while self._unsent:
                part = self._unsent[0]
                try:
                    sent = self._end.send(part)
                except ConnectionError:
                    raise ChannelClosed from None
                self._unsent[0] = part[sent:]
                if sent == len(part):
                    self._unsent.popleft()

    def messages(self) -> Iterator[Message]:
        """All messages that have come. Raises :class:`ChannelClosed` after the last one."""
        is_open = self._receive()
        while len(self._received) >= _HEADER.size:
            kind, size = _HEADER.unpack_from(self._received)
            end = _HEADER.size + size
            if len(self._received) < end:
                break
            content = bytes(memoryview(self._received)[_HEADER.size : end])
            del self._received[:end]
            yield Message(Kind(kind), content)
        if not is_open:
            raise ChannelClosed

    def _receive(self) -> bool:
        """Receive what has come; whether the other end is still open."""
        try:
            while part := self._end.recv(_RECEIVED_BYTES):
                self._received += part
        except BlockingIOError:
            return True
        except ConnectionError:
            return False
        return False

    def close(self) -> None:
        """Close this end."""
        self._end.close()
