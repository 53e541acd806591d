"""From the name of a request file to its owner and content.

The file is opened once; owner, kind, age and content all come from that descriptor.
"""

from __future__ import annotations

import os
import time

from gobbler.actions.context import Requester
from gobbler.errors import Code, Refused, quoted
from gobbler.fs.clock import FilesystemClock
from gobbler.fs.open import account_name, closing, open_directory, open_users_file
from gobbler.model.requests import check_request_name
from gobbler.spool.replay_guard import ReplayGuard
from gobbler.spool.request_file import EXPIRES_AFTER, check_size, read_request

LOOKS = 3
PAUSE = 0.02
"""Times, and seconds between them, that a missing file is looked for: NFS may be late."""


class Intake:
    """Takes the request files of one staging directory, by its ``clock``."""

    def __init__(self, staging: str, replay_guard: ReplayGuard, clock: FilesystemClock) -> None:
        self._staging = staging
        self._replay_guard = replay_guard
        self._clock = clock

    def take(self, name: str) -> tuple[Requester, bytes]:
        """Open the request file ``name`` and note that it is begun: its owner and content.

        Raises :class:`~gobbler.errors.GobblerError` for what is no acceptable request file.
        """
        check_request_name(name)
        with closing(open_directory(self._staging)) as staging:
            descriptor, status = _open(staging, name)
        with closing(descriptor):
            self._check_age(name, status)
            check_size(name, status)
            owner = account_name(status.st_uid, f"request file {quoted(name)}")
            self._replay_guard.begin(name, status)
            return Requester(status.st_uid, owner), read_request(name, descriptor)

    def _check_age(self, name: str, status: os.stat_result) -> None:
        # The owner can set the modification time, but not the change time: one in the
        # future keeps no request alive.
        changed = min(status.st_mtime, status.st_ctime)
        if self._clock.now() - changed >= EXPIRES_AFTER:
            raise Refused(
                f"request file is expired: {quoted(name)} was written a minute or more ago",
                code=Code.EXPIRED_REQUEST,
                hint="Write a new request file and send it at once.",
            )


def _open(staging: int, name: str) -> tuple[int, os.stat_result]:
    for _ in range(LOOKS - 1):
        if os.access(name, os.F_OK, dir_fd=staging, follow_symlinks=False):
            break
        time.sleep(PAUSE)
    return open_users_file(staging, name, "request file")
