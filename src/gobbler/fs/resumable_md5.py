"""An MD5 that can be kept while it is computed, and continued later by another process.

The standard library's MD5 can't be pickled. The library behind it, OpenSSL's ``libcrypto``, keeps
the state of a computation in a plain structure. So this calls its ``MD5_Update`` directly, found
through Python's own module, and copies that structure. Not every Python has it: one that was built
with a library inside shows nothing of it. Then :func:`is_available` is false.
"""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache


class _Context(ctypes.Structure):
    """``MD5_CTX`` of ``openssl/md5.h``, the same in all versions."""

    _fields_ = (
        ("chain", ctypes.c_uint32 * 4),
        ("bits", ctypes.c_uint32 * 2),
        ("data", ctypes.c_uint32 * 16),
        ("count", ctypes.c_uint),
    )


_SPARE_BYTES = 256
"""Room behind the structure, in case that a library's own is longer."""

_ADDRESS = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)


@dataclass(frozen=True)
class _Library:
    init: Callable[[object], int]
    update: Callable[[object, object, int], int]
    final: Callable[[object, object], int]


class ResumableMd5:
    """The MD5 of data that comes in pieces, from the beginning or from a ``kept`` state.

    Make one only where :func:`is_available`. Raises ``ValueError`` if ``kept`` is no state.
    """

    def __init__(self, kept: str = "", *, library: _Library | None = None) -> None:
        found = library or _library()
        if found is None:
            raise ValueError("this Python can't keep the state of an MD5")
        self._library = found
        self._buffer = ctypes.create_string_buffer(ctypes.sizeof(_Context) + _SPARE_BYTES)
        found.init(self._buffer)
        if kept:
            state = bytes.fromhex(kept)
            if len(state) != ctypes.sizeof(_Context) or _Context.from_buffer_copy(state).count > 63:
                raise ValueError("not the state of an MD5")
            ctypes.memmove(self._buffer, state, len(state))

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Add a piece. The interpreter's lock is free meanwhile."""
        if isinstance(data, memoryview) and data.readonly:
            data = data.tobytes()
        if isinstance(data, bytes):
            self._library.update(self._buffer, data, len(data))
        elif data:
            piece = (ctypes.c_char * len(data)).from_buffer(data)
            self._library.update(self._buffer, ctypes.byref(piece), len(data))

    def hexdigest(self) -> str:
        """The MD5 so far, as a manifest has it: 32 hexadecimal digits."""
        copy = ctypes.create_string_buffer(self._buffer.raw)
        digest = ctypes.create_string_buffer(16)
        self._library.final(digest, copy)
        return digest.raw[:16].hex()

    def kept(self) -> str:
        """The state, from which another process can continue, in hexadecimal digits."""
        return self._buffer.raw[: ctypes.sizeof(_Context)].hex()


@cache
def _library() -> _Library | None:
    try:
        import _hashlib  # noqa: PLC0415 - a Python may have been built without it

        if _hashlib.get_fips_mode():  # there, libraries end a process that calls these functions
            return None
        found = ctypes.CDLL(_hashlib.__file__)
        found.MD5_Init.argtypes = (ctypes.c_void_p,)
        found.MD5_Update.argtypes = _ADDRESS
        found.MD5_Final.argtypes = (ctypes.c_void_p, ctypes.c_void_p)
    except (ImportError, AttributeError, OSError, ValueError):
        return None
    library = _Library(found.MD5_Init, found.MD5_Update, found.MD5_Final)
    return library if _is_right(library) else None


def _is_right(library: _Library) -> bool:
    """Whether a state that was kept leads to the right end, in the middle of a block too."""
    data = bytes(range(251))
    for cut in (0, 64, 100):
        first = ResumableMd5(library=library)
        first.update(data[:cut])
        try:
            second = ResumableMd5(first.kept(), library=library)
        except ValueError:
            return False
        second.update(data[cut:])
        if second.hexdigest() != hashlib.md5(data, usedforsecurity=False).hexdigest():
            return False
    return True


def is_available() -> bool:
    """Whether this Python can keep the state of an MD5."""
    return _library() is not None
