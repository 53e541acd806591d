"""Commands that are at work on one registry at the same time, and don't do the same twice."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator

from gobbler.client.sweeping.ledger import Ledger
from gobbler.disk.presence import Presence, appear, inherit


class Attendance:
    """This process, as others that use the same ledger see it; made by :func:`attending`."""

    def __init__(self, ledger: Ledger, directory: str, name: str, presence: Presence) -> None:
        self._ledger = ledger
        self._directory = directory
        self.name = name
        self._presence = presence

    def sign_of_life(self) -> None:
        """Show other hosts, now and then, that we are still at work."""
        self._presence.sign_of_life()

    def claim(self, action: str, task: str) -> bool:
        """Take a task, unless somebody who lives is at it."""
        holder = self._ledger.claim(action, task, self.name)
        if holder != self.name and self._is_gone(holder):
            self._ledger.release(holder)
            holder = self._ledger.claim(action, task, self.name)
        return holder == self.name

    def release_those_of_the_dead(self) -> None:
        """Give up what was claimed by commands that have ended otherwise than they should."""
        for holder in self._ledger.holders() - {self.name}:
            if self._is_gone(holder):
                self._ledger.release(holder)

    def _is_gone(self, holder: str) -> bool:
        path = os.path.join(self._directory, holder)
        left = inherit(path)
        if left is not None:
            left.vanish()
        return left is not None or not os.path.lexists(path)


@contextlib.contextmanager
def attending(ledger: Ledger) -> Iterator[Attendance]:
    """Be at work; what is claimed within is given up at the end of the block, or of the process."""
    directory = f"{ledger.path}.runs"
    os.makedirs(directory, mode=0o700, exist_ok=True)
    presence = None
    while presence is None:
        name = secrets.token_hex(8)
        presence = appear(os.path.join(directory, name))
    try:
        attendance = Attendance(ledger, directory, name, presence)
        attendance.release_those_of_the_dead()
        yield attendance
    finally:
        try:
            ledger.release(name)
        finally:
            presence.vanish()
