"""Requeue: put the files of dead claimants back into ``new``.

For each claimant that has a file in ``cur``: take over its lease if that has expired; only then
list its files, as a dead claimant claims no more; rename them back; and remove the lease last. If
the process is killed in between, the next call continues. Two calls at once do no harm: one
rename of each file succeeds.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import suppress

from gobbler.filestore import names as naming
from gobbler.filestore.claim import FILE_ERRORS, put_back
from gobbler.fs.lease import take_over
from gobbler.fs.open import exists

logger = logging.getLogger(__name__)


def requeue(new: str, cur: str, now: Callable[[], float], silence: float) -> list[str]:
    """Rename all files of dead claimants from ``cur`` to ``new``; their published names.

    ``now`` returns the time of the filesystem in seconds since the epoch; ``silence`` is in
    seconds. May run anywhere, any number of times at once.
    """
    names = os.listdir(cur)
    claimants = {naming.claimant_of(name) or naming.claimant_of_lease(name) for name in names}
    back: list[str] = []
    for claimant in sorted(claimants - {""}):
        path = os.path.join(cur, naming.lease_name(claimant))
        if not exists(path):
            back += _of_unknown(new, cur, claimant, now() - silence)
            continue
        try:
            lease = take_over(path, now, silence=silence)
        except PermissionError:  # the store of another account, which requeues its own files
            continue
        if lease is not None:
            try:
                back += _of_dead(new, cur, claimant)
                _remove_unless_needed(path, cur, claimant)
            finally:
                lease.close()
    return back


def _of_dead(new: str, cur: str, claimant: str) -> Iterator[str]:
    for path in _files_of(cur, claimant):
        yield from _back(path, new)


def _of_unknown(new: str, cur: str, claimant: str, before: float) -> Iterator[str]:
    """Put back files whose claimant has lost its lease, if they were claimed ``before`` that.

    Their change time is the time of the rename, by the clock of the filesystem.
    """
    for path in _files_of(cur, claimant):
        with suppress(FileNotFoundError):
            if os.lstat(path).st_ctime < before:
                yield from _back(path, new)


def _back(path: str, new: str) -> Iterator[str]:
    try:
        if put_back(path, new):
            yield naming.published_name(os.path.basename(path))
    except OSError as error:
        if error.errno not in FILE_ERRORS:
            raise
        logger.warning("could not put back %s: %s", path, error)


def _remove_unless_needed(lease: str, cur: str, claimant: str) -> None:
    if not _files_of(cur, claimant):
        with suppress(FileNotFoundError):
            os.unlink(lease)


def _files_of(cur: str, claimant: str) -> list[str]:
    names = sorted(name for name in os.listdir(cur) if naming.claimant_of(name) == claimant)
    return [os.path.join(cur, name) for name in names]
