"""The remover: removes discarded trees in the background, in one thread of a process.

Each service has one; where they share a registry, each takes another tree, as far as locks reach.
Without locks two may remove the same tree, which does no harm. What a process leaves when it ends
is found by any other, within a minute.
"""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import Callable
from contextlib import suppress

from gobbler.fs.directory_watch import DirectoryWatch
from gobbler.fs.lock import try_lock
from gobbler.fs.open import DIRECTORY, closing
from gobbler.fs.removal import remove_slowly
from gobbler.fs.space import is_short
from gobbler.model.names import INCOMING
from gobbler.registry.discarded import discarded_trees, is_discarded

WORK_SECONDS = 0.02
"""Seconds of work after which the remover rests as long as it has worked."""

STEPS = 16
"""Entries after which the remover looks at the clock."""

LONGEST_REST = 1.0
"""Seconds of the longest rest."""

SETTLE_SECONDS = 0.05
"""Seconds after a change of ``..incoming`` before the remover looks: every change makes several."""

LOOK_SECONDS = 60.0
"""Seconds after which it looks for trees that nothing has told it of, or that it had to leave."""

logger = logging.getLogger(__name__)


class Remover:
    """Removes the discarded trees of ``registry``; ``count`` is called with numbers of entries.

    One thread at a time uses it.
    """

    def __init__(self, registry: str, count: Callable[[int], None] = lambda _: None) -> None:
        self._registry = registry
        self._incoming = f"{registry}/{INCOMING}"
        self._count = count
        self._told: set[str] = set()

    def run(self) -> None:
        """Remove what is there, and what comes; never returns. Raises ``OSError``."""
        watch = DirectoryWatch([self._incoming])
        next_look = time.monotonic()
        while True:
            changed = watch.refresh()[self._incoming]
            if any(map(is_discarded, changed)) or time.monotonic() >= next_look:
                self.remove_all()
                next_look = time.monotonic() + LOOK_SECONDS
            else:
                watch.wait(LOOK_SECONDS, settle=SETTLE_SECONDS)

    def remove_all(self) -> None:
        """Remove the trees that are there. Logs once what stays."""
        for tree in discarded_trees(self._registry):
            error = self._remove(tree.name)
            if error is not None and tree.name not in self._told:
                self._told.add(tree.name)
                logger.warning(
                    "could not remove all of %s, and try again: %s",
                    f"{self._incoming}/{tree.name}",
                    error,
                )

    def _remove(self, name: str) -> OSError | None:
        """Remove one tree, unless another process does; the first error."""
        pace = _Pace(self._registry)
        try:
            with (
                closing(os.open(self._incoming, DIRECTORY)) as directory,
                closing(os.open(name, DIRECTORY, dir_fd=directory)) as tree,
            ):
                with suppress(OSError):  # a filesystem that locks no directories
                    if not try_lock(tree, fcntl.LOCK_EX):
                        return None
                return remove_slowly(directory, name, pace.step)
        except FileNotFoundError:
            return None  # another process has removed it
        except OSError as error:
            return error
        finally:
            self._count(pace.steps)


class _Pace:
    """Rests between stretches of work, unless space is short."""

    def __init__(self, registry: str) -> None:
        self.steps = 0
        self._registry = registry
        self._begun = time.monotonic()

    def step(self) -> None:
        """Count an entry; rest if it is time to."""
        self.steps += 1
        if self.steps % STEPS:
            return
        worked = time.monotonic() - self._begun
        if worked > WORK_SECONDS:
            if not is_short(self._registry):
                time.sleep(min(worked, LONGEST_REST))
            self._begun = time.monotonic()
