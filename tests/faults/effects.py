"""The calls that reach the filesystem, and what can be made of the n-th of them.

A call counts when it is about a path below one directory, or about an open file. What the
package calls through ``os``, ``fcntl``, ``open`` and ``syncfs`` is wrapped; flushing to
disk is counted but not done, for it takes long and changes nothing that a process can see.
"""

from __future__ import annotations

import builtins
import errno
import fcntl
import math
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any, NoReturn
from unittest import mock

from gobbler.fs import flush, flushers

MAKING = ("mkdir", "rename", "link", "symlink", "write", "open")
"""What a full disk refuses (``open``: where it makes a file)."""

CHANGING = (
    *MAKING,
    *("unlink", "rmdir", "chmod", "fchmod", "utime", "fsync", "ftruncate", "syncfs"),
)
"""Between two of these the disk stays as it is."""

FLUSHING = ("fsync", "syncfs")
"""What changes nothing that the next process sees, unless the power fails."""

LOOKING = (
    *("stat", "lstat", "fstat", "scandir", "listdir", "readlink", "access"),
    *("read", "readv", "pread", "preadv", "flock", "builtins.open"),
)

KILLED = 137


@dataclass(frozen=True)
class Effect:
    """One call: the ``number`` that it is of all, and of those that change something.

    ``change`` is 0 where it changes nothing. ``made``: the path that it makes or changes.
    """

    number: int
    change: int
    function: str
    arguments: tuple[Any, ...]
    place: str
    made: str

    @property
    def changes(self) -> bool:
        return self.change > 0

    @property
    def is_seen(self) -> bool:
        """Whether other processes see what it changes."""
        return self.changes and self.function not in FLUSHING

    def __str__(self) -> str:
        return f"call {self.number}: {self.function}({self.place})"


def seen(effects: list[Effect]) -> list[Effect]:
    """Those before which to kill: killing before a flush is killing before the next of these."""
    return [effect for effect in effects if effect.is_seen]


Behaviour = Callable[[Effect], None]
"""What happens right before a call; it may raise, or end the process. Its own calls don't count."""

_readlink = os.readlink
_write = os.write


def _place(subject: Any, options: dict[str, Any]) -> str:
    if isinstance(subject, int):
        return _readlink(f"/proc/self/fd/{subject}")
    directory = options.get("dir_fd") or options.get("src_dir_fd")
    name = os.fsdecode(subject)
    return name if directory is None else f"{_place(directory, {})}/{name}"


class _Counter:
    def __init__(self, base: str, behaviour: Behaviour) -> None:
        self._base = base
        self._behaviour = behaviour
        self._number = self._change = 0
        self._counting = threading.Lock()
        self._interrupted = threading.local()

    def before(self, function: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        if hasattr(self._interrupted, "by") or not self._counts(arguments[0]):
            return
        changes = function in CHANGING
        if function == "open":
            changes = bool(arguments[1] & os.O_CREAT)
        with self._counting:  # a large file is read and written by two threads
            self._number += 1
            self._change += changes
            number, change = self._number, self._change if changes else 0
        place = made = _place(arguments[0], options)
        if function in ("rename", "link", "symlink"):
            directory = options.get("dst_dir_fd") or options.get("dir_fd")
            made = _place(arguments[1], {"dir_fd": directory})
        effect = Effect(number, change, function, arguments, place, made)
        self._interrupted.by = effect
        try:
            self._behaviour(effect)
        finally:
            del self._interrupted.by

    def _counts(self, subject: object) -> bool:
        if isinstance(subject, int):
            return True
        if not isinstance(subject, str | bytes | os.PathLike):
            return False
        path = os.fsdecode(subject)
        return not path.startswith("/") or path.startswith(self._base)

    def wrap(self, function: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            self.before(function, arguments, options)
            if function == "fsync":
                return None
            result = real(*arguments, **options)
            return _DirectoriesFirst(result) if function == "scandir" else result

        return wrapped


class _DirectoriesFirst:
    """The entries of a directory in one order on every filesystem, and not the best one."""

    def __init__(self, entries: Any) -> None:
        with entries:
            found = sorted(entries, key=lambda e: (e.is_file(follow_symlinks=False), e.name))
        self._entries = iter(found)

    def __enter__(self) -> Iterator[Any]:
        return self._entries

    def __exit__(self, *exception: object) -> None:
        """They were read at once."""

    def __iter__(self) -> Iterator[Any]:
        return self._entries

    def __next__(self) -> Any:
        return next(self._entries)


class _Libc:
    """Stands for the C library where the package flushes."""

    def __init__(self, counter: _Counter) -> None:
        self._counter = counter

    def syncfs(self, descriptor: int) -> int:
        try:
            self._counter.before("syncfs", (descriptor,), {})
        except OSError as error:
            flush.ctypes.set_errno(error.errno or errno.EIO)
            return -1
        return 0


@contextmanager
def replaced(functions: dict[str, Callable[..., Any]]) -> Iterator[None]:
    """Have other ``functions`` of :mod:`os` during the block."""
    former = {name: getattr(os, name) for name in functions}
    vars(os).update(functions)
    try:
        yield
    finally:
        vars(os).update(former)


@contextmanager
def intercepted(base: Path, behaviour: Behaviour) -> Iterator[None]:
    """Have ``behaviour`` called before every effect below ``base`` during the block."""
    counter = _Counter(str(base), behaviour)
    names = {name for name in (*CHANGING, *LOOKING) if hasattr(os, name)}
    with (
        replaced({name: counter.wrap(name, getattr(os, name)) for name in names}),
        mock.patch.object(fcntl, "flock", counter.wrap("flock", fcntl.flock)),
        mock.patch.object(builtins, "open", counter.wrap("builtins.open", open)),
        mock.patch.object(flush, "_libc", _Libc(counter)),
        # However busy the machine is: threads would make the calls in another order each time.
        mock.patch.object(flushers, "SLOW_FLUSH_SECONDS", math.inf),
        mock.patch.object(flushers, "_slow", set()),
    ):
        yield


@dataclass
class Recording:
    """Notes all effects and lets them be."""

    effects: list[Effect]

    def __call__(self, effect: Effect) -> None:
        self.effects.append(effect)


@dataclass
class Failure:
    """Makes the ``n``-th effect fail; ``flushing``: that was a part of a flush to disk."""

    n: int
    failed: Effect | None = None
    flush: bool = False

    def __call__(self, effect: Effect) -> None:
        if effect.number == self.n:
            self.failed = effect
            self.flushing = is_called_by(flush)
            _fail(effect)


@dataclass
class LastingFailure:
    """Makes the ``n``-th change and all that follow fail."""

    n: int

    def __call__(self, effect: Effect) -> None:
        if effect.change >= self.n:
            _fail(effect)


def _fail(effect: Effect) -> NoReturn:
    full = effect.changes and effect.function in MAKING
    number = errno.ENOSPC if full else errno.EIO
    raise OSError(number, os.strerror(number), effect.place)


def is_called_by(module: ModuleType) -> bool:
    """Whether a function of ``module`` is being carried out."""
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_code.co_filename != module.__file__:
        frame = frame.f_back
    return frame is not None


@dataclass
class Kill:
    """Ends the process right before the ``n``-th change, or in the midst of it.

    ``torn``: a write is done by half.
    """

    n: int
    torn: bool = False

    def __call__(self, effect: Effect) -> None:
        if effect.change == self.n:
            if self.torn:
                descriptor, data = effect.arguments
                _write(descriptor, bytes(data)[: len(data) // 2])
            _end()


def _end() -> NoReturn:
    os._exit(KILLED)
