"""Which points there are: every call is a point to be killed at, and to fail in each way."""

from __future__ import annotations

from collections.abc import Iterator

from .operations import Operation
from .tracing import Call
from .trying import Point, Study

ANY = ("EIO", "EACCES")
FULL = ("ENOSPC", "EIO", "EACCES")

ERRORS: dict[str, tuple[str, ...]] = {
    "openat": ("EMFILE", "EIO", "EACCES", "EINTR"),
    "mkdir": FULL,
    "rename": FULL,
    "link": FULL,
    "linkat": FULL,
    "symlink": FULL,
    "write": ("ENOSPC", "EIO", "EINTR"),
    "ftruncate": ("EIO",),
    "fsync": ("EIO", "ENOSPC"),
    "syncfs": ("EIO", "ENOSPC"),
    "flock": ("EIO", "EINTR", "ENOLCK"),
    "unlink": ANY,
    "unlinkat": ANY,
    "rmdir": ANY,
    "fchmod": ANY,
    "utimensat": ANY,
    "newfstatat": ANY,
    "faccessat2": ANY,
    "readlink": ANY,
    "readlinkat": ANY,
    "getdents64": ("EIO",),
    "read": ("EIO", "EINTR"),
    "readv": ("EIO", "EINTR"),
    "pread64": ("EIO", "EINTR"),
    "fcntl": ("EMFILE",),
}
"""How each call may fail.

``close`` is not made to fail: it closes the file whatever it answers, which strace, where
it lets a call fail, does not have it do. Short writes come from a disk that runs full.
"""


def kills(operation: Operation, study: Study) -> Iterator[Point]:
    """Every call, to be killed right before it."""
    for call in study.cold:
        yield Point(operation, study.expected, call)


def faults(operation: Operation, study: Study) -> Iterator[Point]:
    """Every call, to fail in each of its ways."""
    for call in study.warm:
        for error in errors_of(call):
            yield Point(operation, study.expected, call, error)


def errors_of(call: Call) -> tuple[str, ...]:
    """The errors with which ``call`` may fail."""
    if call.name == "fcntl" and "F_DUPFD" not in call.told:
        return ()
    if call.name == "openat" and "O_CREAT" in call.told:
        return ("ENOSPC", *ERRORS["openat"])
    return ERRORS.get(call.name, ())
