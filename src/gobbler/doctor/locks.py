"""Does ``flock`` exclude, and does a lock vanish with its holder?

On some mounts of network filesystems it silently succeeds for everybody.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Iterator

from gobbler.doctor.contender import BUSY, HELD
from gobbler.doctor.contenders import Parties, Party, gathered
from gobbler.doctor.findings import TRY_AGAIN, Finding, Topic, Verdict

FREED_WITHIN = 5.0
"""Seconds after which the lock of a killed process must be free."""

MEND = (
    "Mount it so that locks reach the file server (Lustre: -o flock; NFS: without nolock and "
    "local_lock), or use another filesystem."
)

_MISSING = {errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL}


def locks(topic: Topic, directory: str, party: Parties = Party) -> Iterator[Finding]:
    """How ``flock`` behaves between processes that work in ``directory``; never waits long."""
    with gathered(directory, 2, party) as (one, other):
        yield (found := _exclusion(topic, one, other))
        if found.verdict is Verdict.OK:
            yield _mixture(topic, one, other)
            yield _one_process(topic, one)
            yield _emulation(topic, one, other)
            yield _freedom(topic, one, other)


def _exclusion(topic: Topic, one: Party, other: Party) -> Finding:
    try:
        first = one.ask("lock", "lock", "exclusive")
        second = other.ask("lock", "lock", "exclusive")
    except TimeoutError as error:
        return topic.fault(
            f"flock hangs: {error}",
            "Look whether the file server's lock service runs. " + TRY_AGAIN,
        )
    except OSError as error:
        if error.errno not in _MISSING:
            raise
        return topic.fault(f"there are no locks: flock says {error.strerror!r}", MEND, refused=True)
    if first != HELD:
        return topic.fault("a lock that nobody holds can't be taken", MEND, refused=True)
    if second != BUSY:
        return topic.fault(
            "flock succeeds for everybody: changes at the same time are not put in order, and "
            "usage and latest may come out wrong",
            MEND,
        )
    return topic.ok("flock excludes other processes")


def _mixture(topic: Topic, one: Party, other: Party) -> Finding:
    """One holder is exclusive; then both are shared."""
    shared_beside_exclusive = other.ask("lock", "lock", "shared")
    _free(one, other)
    one.ask("lock", "lock", "shared")
    both_shared = other.ask("lock", "lock", "shared")
    other.ask("free")
    exclusive_beside_shared = other.ask("lock", "lock", "exclusive")
    _free(one, other)
    if both_shared != HELD:
        return topic.warning(
            "shared locks exclude each other: changes of different projects wait for each other",
            MEND,
        )
    if HELD in (shared_beside_exclusive, exclusive_beside_shared):
        return topic.fault("shared and exclusive locks don't exclude each other", MEND)
    return topic.ok("shared locks go together, exclusive ones exclude them")


def _one_process(topic: Topic, one: Party) -> Finding:
    one.ask("lock", "lock", "exclusive")
    second = one.ask("lock", "lock", "exclusive")
    _free(one)
    if second != BUSY:
        return topic.fault("flock does not exclude threads of one process from each other", MEND)
    return topic.ok("flock excludes threads of one process, too")


def _emulation(topic: Topic, one: Party, other: Party) -> Finding:
    one.ask("lock", "lock", "exclusive")
    try:
        record = other.ask("record", "lock")
    except OSError as error:
        record = f"not possible ({error.strerror})"
    _free(one, other)
    if record == BUSY:
        return topic.ok("flock is carried out as a record lock, as NFS does for all its clients")
    return topic.ok("flock is a lock of its own, apart from record locks")


def _freedom(topic: Topic, one: Party, other: Party) -> Finding:
    one.ask("lock", "lock", "exclusive")
    one.kill()
    deadline = time.monotonic() + FREED_WITHIN
    while other.ask("lock", "lock", "exclusive") != HELD:
        if time.monotonic() > deadline:
            return topic.fault(
                f"the lock of a process that was killed is not free {FREED_WITHIN:g} seconds later",
                "After a crash the service would wait for a lock that nobody holds. " + MEND,
            )
        time.sleep(0.02)
    return topic.ok("the lock of a killed process is free")


def _free(*parties: Party) -> None:
    for each in parties:
        each.ask("free")
