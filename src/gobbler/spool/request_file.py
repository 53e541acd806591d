"""From the name of a request file to its owner and content.

The file is opened once. Owner, kind, age, content and who else can write it all come from that
descriptor, so its owner gains nothing by swapping it meanwhile.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import NamedTuple

from gobbler.errors import Code, Refused, quoted
from gobbler.fs.authorship import Authorship
from gobbler.fs.clock import FilesystemClock
from gobbler.fs.open import account_name, closing, enter_directory, open_users_file, read_all
from gobbler.fs.os_errors import raising_fault
from gobbler.model.requests import MAX_REQUEST_BYTES, check_request_name
from gobbler.spool.replay_guard import ReplayGuard

EXPIRES_AFTER = 60.0
"""Seconds after its last change at which a request file is refused."""

LOOKUPS = 3
LOOKUP_PAUSE = 0.02
"""Number of lookups of a missing file, and the pause between them in seconds: NFS may be late."""


class RequestFile(NamedTuple):
    """A request file that was read: the user ID and login of its owner, and its content."""

    uid: int
    user: str
    data: bytes


class RequestIntake:
    """Takes the request files that lie directly in ``staging``.

    ``clock`` is that of the filesystem: the clocks of the users' hosts may differ.
    """

    def __init__(
        self,
        staging: str,
        replay_guard: ReplayGuard,
        clock: FilesystemClock,
        authorship: Authorship,
    ) -> None:
        self._staging = staging
        self._replay_guard = replay_guard
        self._clock = clock
        self._authorship = authorship

    def take(self, name: str, check: Callable[[RequestFile], object] | None = None) -> RequestFile:
        """Read the request file ``name``, and record that it has begun.

        ``check`` may raise: then the request has not begun. Raises
        :class:`~gobbler.errors.GobblerError` if it is not acceptable, or has begun before.
        """
        check_request_name(name)
        with closing(enter_directory(self._staging)) as staging:
            descriptor, status = _open(staging, name, self._staging)
        with closing(descriptor):
            self._check_age(name, status)
            check_size(name, status)
            path = f"{self._staging}/{name}"
            self._authorship.check(descriptor, status, "request file", path)
            owner = account_name(status.st_uid, f"request file {quoted(name)}")
            taken = RequestFile(status.st_uid, owner, read_content(name, descriptor))
            if check is not None:
                check(taken)
            self._replay_guard.begin(name, status)
            return taken

    def _check_age(self, name: str, status: os.stat_result) -> None:
        # The owner can set the modification time, but not the change time: a modification time
        # in the future keeps no request alive.
        changed = min(status.st_mtime, status.st_ctime)
        if self._now() - changed >= EXPIRES_AFTER:
            raise Refused(
                f"request file is expired: {quoted(name)} was written a minute or more ago",
                code=Code.EXPIRED_REQUEST,
                hint="Write a new request file and send it at once.",
            )

    def _now(self) -> float:
        try:
            return self._clock.now()
        except FileNotFoundError:  # something has removed the directory where it is measured
            self._replay_guard.restore()
            return self._clock.now()


def _open(staging: int, name: str, where: str) -> tuple[int, os.stat_result]:
    for _ in range(LOOKUPS - 1):
        try:
            return open_users_file(staging, name, "request file", where)
        except Refused as error:
            if error.code is not Code.MISSING_REQUEST:
                raise
        time.sleep(LOOKUP_PAUSE)
    return open_users_file(staging, name, "request file", where)


def check_size(name: str, status: os.stat_result) -> None:
    """Refuse a request file that is too large, before it is read."""
    if status.st_size > MAX_REQUEST_BYTES:
        raise _too_large(name)


def read_content(name: str, descriptor: int) -> bytes:
    """The content of an open request file; refused if it has grown too large."""
    with raising_fault("read request file", name):
        data = read_all(descriptor, MAX_REQUEST_BYTES)
    if len(data) > MAX_REQUEST_BYTES:
        raise _too_large(name)
    return data


def _too_large(name: str) -> Refused:
    return Refused(f"request file {quoted(name)} is larger than 1 MiB", code=Code.REQUEST_TOO_LARGE)
