"""Numbers that the processes of one service count together.

They are in a file in memory (``memfd_create(2)``) that all processes map. Each process owns one row
of it, and adds to the cells of that row only, so no process waits for another one. The owner of a
row holds a record lock on it (``fcntl(2)``), which the kernel releases when the process ends: a row
whose lock is free belongs to a dead process, and the next process continues to count in it.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import threading
from collections.abc import Iterable
from multiprocessing import reduction
from typing import Any

_FLOCK = struct.Struct("hhqqi")
"""``struct flock``: type, whence, start, length, process."""

_CELL = 8
"""Bytes of a cell, which is a double."""


class SharedCounters:
    """``rows`` times ``cells`` numbers; each process has one row. Without rows, nothing counts.

    Call :meth:`join` in each process that counts, also after a fork. Until then, and where all
    rows are taken, :meth:`add` counts nothing. It can be pickled for a process that is spawned.
    """

    def __init__(self, cells: int, rows: int) -> None:
        self._cells, self._rows = cells, rows
        self._row: int | None = None
        self._lock = threading.Lock()
        if rows:
            descriptor = os.memfd_create("gobbler-metrics")
            os.ftruncate(descriptor, cells * rows * _CELL)
            self._attach(descriptor)

    def _attach(self, descriptor: int) -> None:
        # Never closed: closing any descriptor of a file ends a process's record locks on it.
        self._descriptor = descriptor
        self._map = mmap.mmap(descriptor, self._cells * self._rows * _CELL)
        self._numbers = memoryview(self._map).cast("d")

    def __reduce__(self) -> tuple[Any, tuple[Any, int, int]]:
        return _shared, (reduction.DupFd(self._descriptor), self._cells, self._rows)

    def join(self, resetting: Iterable[int] = ()) -> None:
        """Take a row for this process, and set the cells ``resetting`` of it to 0."""
        self._lock = threading.Lock()
        self._row = next((row for row in range(self._rows) if self._take(row)), None)
        for cell in resetting:
            self.set(cell, 0.0)

    def _take(self, row: int) -> bool:
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, row)
        except OSError:
            return False
        return True

    def add(self, cell: int, amount: float = 1.0) -> None:
        """Add ``amount`` to a cell of this process."""
        if self._row is not None:
            index = self._row * self._cells + cell
            with self._lock:
                self._numbers[index] += amount

    def add_alone(self, cell: int, amount: float = 1.0) -> None:
        """The same for a cell to which only one thread of this process adds: it needs no lock."""
        if self._row is not None:
            self._numbers[self._row * self._cells + cell] += amount

    def add_two_alone(self, cell: int, other: int, amount: float) -> None:
        """Add 1 to ``cell`` and ``amount`` to ``other``; see :meth:`add_alone`."""
        if self._row is not None:
            first, numbers = self._row * self._cells, self._numbers
            numbers[first + cell] += 1.0
            numbers[first + other] += amount

    def add_each(self, amounts: Iterable[tuple[int, float]]) -> None:
        """Add to several cells of this process: each of ``amounts`` is a cell and what to add."""
        if self._row is None:
            return
        first, numbers = self._row * self._cells, self._numbers
        with self._lock:
            for cell, amount in amounts:
                numbers[first + cell] += amount

    def set(self, cell: int, value: float) -> None:
        """Set a cell of this process."""
        if self._row is not None:
            self._numbers[self._row * self._cells + cell] = value

    def column(self, cell: int, *, alive: bool = True) -> list[float]:
        """The values of a cell in the rows of living processes, or in all rows."""
        return [self._numbers[row * self._cells + cell] for row in self._chosen(alive=alive)]

    def columns(self, *, alive: bool) -> list[tuple[float, ...]]:
        """For each cell, what :meth:`column` returns."""
        values = [
            self._numbers[row * self._cells : (row + 1) * self._cells].tolist()
            for row in self._chosen(alive=alive)
        ]
        return list(zip(*values, strict=True)) if values else [()] * self._cells

    def _chosen(self, *, alive: bool) -> list[int]:
        return [row for row in range(self._rows) if not alive or self._is_alive(row)]

    def _is_alive(self, row: int) -> bool:
        if row == self._row:
            return True  # a process does not see its own locks
        asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, row, 1, 0)
        found = fcntl.fcntl(self._descriptor, fcntl.F_GETLK, asked)
        kind: int = _FLOCK.unpack(found[: _FLOCK.size])[0]
        return kind != fcntl.F_UNLCK


def _shared(duplicate: Any, cells: int, rows: int) -> SharedCounters:  # noqa: ANN401 - of the library
    """The counters of the process that spawned this one."""
    counters = SharedCounters(cells, 0)
    counters._rows = rows
    counters._attach(duplicate.detach())
    return counters
