"""Putting back what dead claimants had.

For each claimant that ``cur`` tells of: take the lock of its record, and see whether it is
dead; only then list its files, for a dead one claims no more; rename them back; and remove
the record last. Killed in between, the next one goes on. Two at once don't harm each
other: a file is put back by whose rename succeeds.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import suppress

from gobbler.filestore import names as naming
from gobbler.filestore.claim import ABOUT_THE_FILE, put_back
from gobbler.fs.lease import take_over
from gobbler.fs.open import exists

logger = logging.getLogger(__name__)


def requeue(new: str, cur: str, now: Callable[[], float], silence: float) -> list[str]:
    """Rename all files of dead claimants from ``cur`` to ``new``; their published names.

    ``now`` tells the filesystem's time in seconds since the epoch; ``silence`` is in
    seconds. May run anywhere, any number of times at once.
    """
    names = os.listdir(cur)
    claimants = {naming.claimant_of(name) or naming.recorded(name) for name in names} - {""}
    back: list[str] = []
    for claimant in sorted(claimants):
        record = os.path.join(cur, naming.record_of(claimant))
        if not exists(record):
            back += _of_unknown(new, cur, claimant, now() - silence)
            continue
        try:
            lease = take_over(record, now, silence=silence)
        except PermissionError:  # it is for others to look
            continue
        if lease is not None:
            try:
                back += _of_dead(new, cur, claimant)
                _remove_unless_needed(record, cur, claimant)
            finally:
                lease.close()
    return back


def _of_dead(new: str, cur: str, claimant: str) -> Iterator[str]:
    for path in _files_of(cur, claimant):
        yield from _back(path, new)


def _of_unknown(new: str, cur: str, claimant: str, before: float) -> Iterator[str]:
    """Put back files whose claimant's record is lost, if they were claimed ``before`` that.

    Their change time is that of the rename, by the filesystem's clock.
    """
    for path in _files_of(cur, claimant):
        with suppress(FileNotFoundError):
            if os.lstat(path).st_ctime < before:
                yield from _back(path, new)


def _back(path: str, new: str) -> Iterator[str]:
    try:
        if put_back(path, new):
            yield naming.original(os.path.basename(path))
    except OSError as error:
        if error.errno not in ABOUT_THE_FILE:
            raise
        logger.warning("could not put back %s: %s", path, error)


def _remove_unless_needed(record: str, cur: str, claimant: str) -> None:
    if not _files_of(cur, claimant):
        with suppress(FileNotFoundError):
            os.unlink(record)


def _files_of(cur: str, claimant: str) -> list[str]:
    names = sorted(name for name in os.listdir(cur) if naming.claimant_of(name) == claimant)
    return [os.path.join(cur, name) for name in names]
