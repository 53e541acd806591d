"""Requeue: put the files of dead claimants back into ``new``.

For each claimant that has a file in ``cur``: take over its lease if that has expired; only then
list its files, as a dead claimant claims no more; rename them back; and remove the lease last. If
the process is killed in between, the next call continues. Two calls at once do no harm: one rename
of each file succeeds.

Many claimants share a listing, so the time follows the number of files.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress

from gobbler.filestore import names as naming
from gobbler.filestore.claim import FILE_ERRORS, put_back
from gobbler.fs.lease import Lease, take_over

_TOGETHER = 256
"""Leases that are held at a time; each takes a descriptor."""

logger = logging.getLogger(__name__)


def requeue(new: str, cur: str, now: Callable[[], float], silence: float) -> list[str]:
    """Rename all files of dead claimants from ``cur`` to ``new``; their published names.

    ``now`` returns the time of the filesystem in seconds since the epoch; ``silence`` is in
    seconds. Any number of processes, on any hosts, may call this at the same time.
    """
    names = set(os.listdir(cur))
    found = {naming.claimant_of(name) or naming.claimant_of_lease(name) for name in names}
    claimants = sorted(found - {""})
    back: list[str] = []
    for start in range(0, len(claimants), _TOGETHER):
        back += _of_some(new, cur, claimants[start : start + _TOGETHER], now, silence)
    return back


def _of_some(
    new: str, cur: str, claimants: list[str], now: Callable[[], float], silence: float
) -> list[str]:
    back: list[str] = []
    with ExitStack() as held:
        dead: dict[str, Lease] = {}
        unknown: set[str] = set()
        for claimant in claimants:
            path = os.path.join(cur, naming.lease_name(claimant))
            try:
                lease = take_over(path, now, silence=silence)
            except OSError as error:
                # The lease of another account, which requeues its own files; or no lease at all.
                if not isinstance(error, PermissionError):
                    logger.warning("could not check the lease %s: %s", path, error)
                continue
            if lease is not None:
                held.callback(lease.close)
                dead[claimant] = lease
            elif not os.path.lexists(path):
                unknown.add(claimant)
        if not dead and not unknown:
            return back
        files = _files_of(cur, {*dead, *unknown})
        before = now() - silence if unknown else 0.0
        for claimant in claimants:
            for path in sorted(files.get(claimant, ())):
                if claimant in dead or _was_claimed_before(path, before):
                    back += _back(path, new)
        if dead:
            left = _files_of(cur, dead)
            for claimant, lease in dead.items():
                if claimant not in left:
                    with suppress(FileNotFoundError):
                        os.unlink(lease.path)
    return back


def _was_claimed_before(path: str, moment: float) -> bool:
    """Whether a file, whose claimant has lost its lease, was claimed before that moment.

    Its change time is the time of the rename, by the clock of the filesystem.
    """
    try:
        return os.lstat(path).st_ctime < moment
    except FileNotFoundError:
        return False


def _back(path: str, new: str) -> Iterator[str]:
    try:
        if put_back(path, new):
            yield naming.published_name(os.path.basename(path))
    except OSError as error:
        if error.errno not in FILE_ERRORS:
            raise
        logger.warning("could not put back %s: %s", path, error)


def _files_of(cur: str, claimants: Iterable[str]) -> dict[str, list[str]]:
    """The paths of the files of those ``claimants`` that have any."""
    wanted = set(claimants)
    found: dict[str, list[str]] = {}
    for name in os.listdir(cur):
        if (claimant := naming.claimant_of(name)) in wanted:
            found.setdefault(claimant, []).append(os.path.join(cur, name))
    return found
