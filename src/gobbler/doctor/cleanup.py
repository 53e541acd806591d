"""Whether what users leave in staging goes away again."""

from __future__ import annotations

import os
import stat
import time

from gobbler.doctor.findings import Finding, Place, Topic
from gobbler.fs.age import is_unchanged
from gobbler.fs.open import closing, open_directory, user_name
from gobbler.model.names import is_internal
from gobbler.model.requests import REQUEST_PREFIX

OLD_SECONDS = 8 * 86_400.0
"""A day more than the service keeps what is in staging."""

EXAMINED = 10_000
"""Entries of staging that are examined."""


def leftovers(topic: Topic, place: Place) -> Finding:
    """Whether something in staging is so old that a cleanup should have removed it."""
    remedy = (
        "let root remove it once a day, with a timer of systemd (see the administrators' guide): "
        f"gobbler staging clean --all --staging {place.shell}"
    )
    try:
        directory = open_directory(place.path)
    except PermissionError:
        # The probe of access warns of that.
        return topic.ok(
            f"{user_name(os.geteuid())} can't see what is left; clients remove their own copies, "
            "and root can remove what dead ones leave: gobbler staging clean --all"
        )
    with closing(directory):
        old = [name for name in _candidates(directory) if _is_old(directory, name)]
    if old:
        return topic.warning(
            f"{len(old)} entries, among them {old[0]!r}, have not changed for eight days, and no "
            "cleanup has removed them",
            remedy,
        )
    if os.geteuid() == 0:
        return topic.ok("nothing old is left in it, and root may remove what users leave")
    return topic.ok(
        "nothing old is left in it; clients remove their own copies, and root can remove what "
        "dead ones leave: gobbler staging clean --all"
    )


def _candidates(directory: int) -> list[str]:
    found = []
    with os.scandir(directory) as entries:
        for entry, _ in zip(entries, range(EXAMINED), strict=False):
            is_request = entry.name.startswith(REQUEST_PREFIX)
            if is_internal(entry.name) or entry.name == "lost+found":
                continue
            if is_request or entry.is_dir(follow_symlinks=False):
                found.append(entry.name)
    return sorted(found)


def _is_old(directory: int, name: str) -> bool:
    try:
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except OSError:
        return False
    limit = time.time() - OLD_SECONDS
    if stat.S_ISDIR(status.st_mode) and not os.access(name, os.R_OK | os.X_OK, dir_fd=directory):
        return max(status.st_mtime, status.st_ctime) < limit  # no more can be seen
    return is_unchanged(directory, name, limit)
