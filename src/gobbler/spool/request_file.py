"""What is asked of every request file that is open, whichever way it came."""

from __future__ import annotations

import os

from gobbler.errors import Code, Refused, quoted
from gobbler.fs.open import read_all
from gobbler.fs.os_errors import raising_fault
from gobbler.model.requests import MAX_REQUEST_BYTES

EXPIRES_AFTER = 60.0
"""Seconds after its last change at which a request file is refused."""


def check_size(name: str, status: os.stat_result) -> None:
    """Refuse a request file that is too large, before it is read."""
    if status.st_size > MAX_REQUEST_BYTES:
        raise _too_large(name)


def read_request(name: str, descriptor: int) -> bytes:
    """The content of an open request file; refused if it has become too large."""
    with raising_fault("read request file", name):
        data = read_all(descriptor, MAX_REQUEST_BYTES)
    if len(data) > MAX_REQUEST_BYTES:
        raise _too_large(name)
    return data


def _too_large(name: str) -> Refused:
    return Refused(
        f"request file {quoted(name)} is larger than 16 MiB", code=Code.REQUEST_TOO_LARGE
    )
