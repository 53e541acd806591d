"""Going over a whole registry: what is due, in which order, and for how long.

Moments are seconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from gobbler.model.names import VersionKey
from gobbler.model.records import Summary

MANY_FILES = 5_000
MANY_BYTES = 256 << 20
"""From which on a version takes long enough to be worth a job, whose progress can be told."""

CLOCKS_DIFFER = 3600.0
"""Seconds by which the clocks of hosts may differ that use one ledger."""

VERSION_COSTS = 1 << 20
"""Bytes that are hashed in about the time that a version takes whatever is in it."""


class Once(Protocol):
    """What is known of the last time that a version was verified."""

    @property
    def stamp(self) -> str:
        """The :func:`stamp` of the version that it was."""

    @property
    def finished(self) -> float:
        """When that was."""


def stamp(summary: Summary | None) -> str:
    """What tells a version from another one that was published under the same name later.

    Approving a version does not make it another one. Empty where the summary can't be read.
    """
    if summary is None:
        return ""
    return f"{summary.upload_user_id} {summary.upload_start} {summary.upload_finish}"


def still_holds(last: Once | None, found: str) -> bool:
    """Whether what is known is about the version that has the stamp ``found`` now."""
    return last is not None and last.stamp == found


def due(
    versions: Iterable[VersionKey],
    last: Mapping[VersionKey, Once],
    stamps: Mapping[VersionKey, str],
    before: float,
    now: float,
) -> list[VersionKey]:
    """The versions that were not verified at or after ``before``, in the order to verify them.

    Those that never were come first, by their names, then the one verified the longest ago.
    ``stamps`` tells of every version that is in ``last``; one whose stamp differs is another
    version of the same name, which was never verified. Nor does it count that one was verified
    long after ``now``: that tells of a clock that was wrong.
    """
    ordered: list[tuple[float, str, VersionKey]] = []
    for key in versions:
        known = last.get(key)
        finished = float("-inf")
        if known is not None and still_holds(known, stamps[key]):
            finished = known.finished if known.finished < now + CLOCKS_DIFFER else finished
        if finished < before:
            ordered.append((finished, key.path, key))
    return [key for _, _, key in sorted(ordered, key=lambda each: each[:2])]


@dataclass(frozen=True)
class Budget:
    """How much may be spent, in ``seconds`` and in ``bytes`` that are hashed; ``None``: any."""

    seconds: float | None = None
    bytes: int | None = None

    def is_used_up(self, seconds: float, size: int) -> bool:
        """Whether nothing more should be begun after ``seconds`` and ``size`` bytes.

        What is under way is finished, so a version may be larger than the budget.
        """
        return (self.seconds is not None and seconds >= self.seconds) or (
            self.bytes is not None and size >= self.bytes
        )


class Work(NamedTuple):
    """A number of versions, and bytes in them."""

    versions: int
    bytes: int


def expected(known: Work, unknown: int) -> int | None:
    """Bytes in so many versions that are ``known``, and in as many ``unknown`` ones.

    Those are taken to be like the known ones; ``None`` where nothing is known at all.
    """
    if unknown == 0:
        return known.bytes
    if known.versions == 0:
        return None
    return known.bytes + round(known.bytes / known.versions * unknown)


def seconds_left(elapsed: float, done: Work, left: Work) -> float | None:
    """How long what is ``left`` takes, if it goes as it did with what is ``done``."""
    cost = done.versions * VERSION_COSTS + done.bytes
    if cost == 0 or elapsed <= 0:
        return None
    return elapsed * (left.versions * VERSION_COSTS + left.bytes) / cost


def takes_long(files: int, size: int) -> bool:
    """Whether a version of so many ``files`` and bytes is worth a job of its own."""
    return files >= MANY_FILES or size >= MANY_BYTES
