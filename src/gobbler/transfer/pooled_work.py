"""What the processes of a local pool do, and for which files."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from gobbler.model.progress import Progress

POOLED_FILE_BYTES = 4 * 1024 * 1024
"""Bytes below which a file is small enough for a pool: the time for it goes into calls."""

B = TypeVar("B")
R = TypeVar("R")


@dataclass(frozen=True)
class PooledWork(Generic[B, R]):
    """How processes of a local pool do the work of batches for which ``is_small`` holds.

    ``run`` returns plain values, which are quickly handed on; ``result`` makes the result of them.
    ``again`` does the work after a process that had begun it has died.
    """

    is_small: Callable[[B], bool]
    run: Callable[[B, Progress], Any]
    result: Callable[[Any], R]
    again: Callable[[B, Progress], R]


def are_small(sizes: Iterable[int]) -> bool:
    """Whether files of these sizes in bytes are a small batch, which suits a pool."""
    return max(sizes, default=0) < POOLED_FILE_BYTES
