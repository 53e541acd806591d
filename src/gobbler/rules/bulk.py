"""Bulk validation: which versions are due, in which order, and how long it takes.

Times are seconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from gobbler.model.names import VersionKey
from gobbler.model.records import Summary

MANY_FILES = 5_000
MANY_BYTES = 256 << 20
"""Bytes from which a version is validated by a job, which reports progress."""

CLOCKS_DIFFER = 3600.0
"""Seconds by which the clocks of hosts that share a state file may differ."""

VERSION_COSTS = 1 << 20
"""Bytes that take as long to hash as the fixed cost of a version."""


class LastValidation(Protocol):
    """The last validation of a version."""

    @property
    def fingerprint(self) -> str:
        """The :func:`version_fingerprint` that the version had."""

    @property
    def finished(self) -> float:
        """The time at which it ended."""


def version_fingerprint(summary: Summary | None) -> str:
    """Distinguishes a version from a later one of the same name.

    Approving a version does not change it. Empty if the summary can't be read.
    """
    if summary is None:
        return ""
    return f"{summary.upload_user_id} {summary.upload_start} {summary.upload_finish}"


def still_holds(last: LastValidation | None, found: str) -> bool:
    """Whether ``last`` is about the version that now has the fingerprint ``found``."""
    return last is not None and last.fingerprint == found


def may_still_hold(last: LastValidation, found: str) -> bool:
    """Whether ``last`` may be about the version that now has the fingerprint ``found``.

    A summary that could not be read, then or now, does not make it another version.
    """
    return still_holds(last, found) or "" in (last.fingerprint, found)


def due(
    versions: Iterable[VersionKey],
    last: Mapping[VersionKey, LastValidation],
    fingerprints: Mapping[VersionKey, str],
    before: float,
    now: float,
) -> list[VersionKey]:
    """The versions that were not validated at or after ``before``, in the order to validate them.

    Versions that were never validated come first, by name, then the others, the oldest
    validation first. ``fingerprints`` has every version of ``last``; if the fingerprint differs,
    the version counts as never validated. The same holds if the validation is long after
    ``now``, since a clock was wrong.
    """
    ordered: list[tuple[float, str, VersionKey]] = []
    for key in versions:
        known = last.get(key)
        finished = float("-inf")
        if known is not None and still_holds(known, fingerprints[key]):
            finished = known.finished if known.finished < now + CLOCKS_DIFFER else finished
        if finished < before:
            ordered.append((finished, key.path, key))
    return [key for _, _, key in sorted(ordered, key=lambda each: each[:2])]


@dataclass(frozen=True)
class Budget:
    """Limits of a bulk run: ``seconds``, and ``bytes`` to hash; ``None``: no limit."""

    seconds: float | None = None
    bytes: int | None = None

    def is_used_up(self, seconds: float, size: int) -> bool:
        """Whether no further version should start after ``seconds`` and ``size`` bytes.

        Running validations complete, so a version may be larger than the budget.
        """
        return (self.seconds is not None and seconds >= self.seconds) or (
            self.bytes is not None and size >= self.bytes
        )


class Work(NamedTuple):
    """A number of versions, and bytes in them."""

    versions: int
    bytes: int


def expected(known: Work, unknown: int) -> int | None:
    """Total bytes of the ``known`` versions and of ``unknown`` further ones.

    Assumes that unknown versions are as large as known ones; ``None`` if none is known.
    """
    if unknown == 0:
        return known.bytes
    if known.versions == 0:
        return None
    return known.bytes + round(known.bytes / known.versions * unknown)


def seconds_left(elapsed: float, done: Work, left: Work) -> float | None:
    """Seconds that ``left`` takes at the rate of ``done``."""
    cost = done.versions * VERSION_COSTS + done.bytes
    if cost == 0 or elapsed <= 0:
        return None
    return elapsed * (left.versions * VERSION_COSTS + left.bytes) / cost


def takes_long(files: int, size: int) -> bool:
    """Whether a version of ``files`` and ``size`` in bytes should be validated in a job."""
    return files >= MANY_FILES or size >= MANY_BYTES
