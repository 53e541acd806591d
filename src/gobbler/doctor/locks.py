"""Whether ``flock`` excludes other processes, and a lock ends with its holder.

On some mounts of network filesystems, ``flock`` succeeds for everybody.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Iterator

from gobbler.doctor.contender import BUSY, HELD
from gobbler.doctor.contenders import Contender, ContenderType, contenders
from gobbler.doctor.findings import TRY_AGAIN, Finding, Topic, Verdict

FREED_WITHIN = 5.0
"""Seconds until the lock of a killed process must be free."""

REMEDY = (
    "Remount it so that locks reach the file server (Lustre: -o flock; NFS: without nolock and "
    "local_lock), or use another filesystem."
)

_MISSING = {errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL}


def locks(topic: Topic, directory: str, new: ContenderType = Contender) -> Iterator[Finding]:
    """The behaviour of ``flock`` between processes in ``directory``."""
    with contenders(directory, 2, new) as (one, other):
        yield (found := _exclusion(topic, one, other))
        if found.verdict is Verdict.OK:
            yield _shared_locks(topic, one, other)
            yield _threads(topic, one)
            yield _emulation(topic, one, other)
            yield _release_by_kill(topic, one, other)


def _exclusion(topic: Topic, one: Contender, other: Contender) -> Finding:
    try:
        first = one.ask("lock", "lock", "exclusive")
        second = other.ask("lock", "lock", "exclusive")
    except TimeoutError as error:
        return topic.fault(
            f"flock hangs: {error}",
            "Check that the lock service of the file server runs. " + TRY_AGAIN,
        )
    except OSError as error:
        if error.errno not in _MISSING:
            raise
        return topic.fault(
            f"there are no locks: flock fails with {error.strerror!r}", REMEDY, refused=True
        )
    if first != HELD:
        return topic.fault("flock refuses a free lock", REMEDY, refused=True)
    if second != BUSY:
        return topic.fault(
            "flock succeeds for everybody: simultaneous changes may leave a wrong usage or latest "
            "version",
            REMEDY,
        )
    return topic.ok("flock excludes other processes")


def _shared_locks(topic: Topic, one: Contender, other: Contender) -> Finding:
    """Shared beside exclusive, shared beside shared, exclusive beside shared."""
    shared_beside_exclusive = other.ask("lock", "lock", "shared")
    _free(one, other)
    one.ask("lock", "lock", "shared")
    both_shared = other.ask("lock", "lock", "shared")
    other.ask("free")
    exclusive_beside_shared = other.ask("lock", "lock", "exclusive")
    _free(one, other)
    if both_shared != HELD:
        return topic.warning(
            "shared locks exclude each other, so changes of different projects wait for each other",
            REMEDY,
        )
    if HELD in (shared_beside_exclusive, exclusive_beside_shared):
        return topic.fault("shared and exclusive locks don't exclude each other", REMEDY)
    return topic.ok("shared locks exclude exclusive ones, and not each other")


def _threads(topic: Topic, one: Contender) -> Finding:
    one.ask("lock", "lock", "exclusive")
    second = one.ask("lock", "lock", "exclusive")
    _free(one)
    if second != BUSY:
        return topic.fault("flock does not exclude other threads of a process", REMEDY)
    return topic.ok("flock excludes other threads of a process")


def _emulation(topic: Topic, one: Contender, other: Contender) -> Finding:
    one.ask("lock", "lock", "exclusive")
    try:
        record = other.ask("record", "lock")
    except OSError as error:
        record = f"not possible ({error.strerror})"
    _free(one, other)
    if record == BUSY:
        return topic.ok("flock is implemented by record locks, as NFS does for all clients")
    return topic.ok("flock is independent of record locks")


def _release_by_kill(topic: Topic, one: Contender, other: Contender) -> Finding:
    one.ask("lock", "lock", "exclusive")
    one.kill()
    deadline = time.monotonic() + FREED_WITHIN
    while other.ask("lock", "lock", "exclusive") != HELD:
        if time.monotonic() > deadline:
            return topic.fault(
                f"the lock of a killed process is not free after {FREED_WITHIN:g} seconds",
                "After a crash, the service would wait for that lock. " + REMEDY,
            )
        time.sleep(0.02)
    return topic.ok("a lock ends with its process")


def _free(*contenders: Contender) -> None:
    for each in contenders:
        each.ask("free")
