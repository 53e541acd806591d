"""Which points there are: every call is a point to be killed at, and to fail in each way."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from .disturbing import LIMIT, Point, Study
from .operations import Operation
from .tracing import COPY, REQUEST, RequestContext

ANY = ("EIO", "EACCES", "EINTR")
FULL = ("ENOSPC", *ANY)
READING = ("EIO", "EINTR")

ERRORS: dict[str, tuple[str, ...]] = {
    "openat": ("EMFILE", *ANY),
    "mkdir": FULL,
    "rename": FULL,
    "link": FULL,
    "linkat": FULL,
    "symlink": FULL,
    "write": ("ENOSPC", *READING),
    "ftruncate": READING,
    "fsync": ("ENOSPC", *READING),
    "syncfs": ("ENOSPC", *READING),
    "sync_file_range": ("ENOSPC", "EIO"),
    "flock": ("ENOLCK", *READING),
    "unlink": ANY,
    "unlinkat": ANY,
    "rmdir": ANY,
    "fchmod": ANY,
    "utimensat": ANY,
    "newfstatat": ANY,
    "faccessat2": ANY,
    "readlink": ANY,
    "readlinkat": ANY,
    "getdents64": READING,
    "read": READING,
    "readv": READING,
    "pread64": READING,
    "preadv2": READING,
    "lseek": ("EIO",),
    "fcntl": ("EMFILE",),
}
"""How each call may fail.

``close`` is not made to fail: it closes the file whatever it answers, which strace, where
it lets a call fail, does not have it do. For short writes see :func:`limits`.
"""


def kills(operation: Operation, study: Study) -> Iterator[Point]:
    """Every call, to be killed right before it."""
    for call in study.warm:
        if _can_be_met(call):
            yield Point(operation, study.expected, call)


def faults(operation: Operation, study: Study) -> Iterator[Point]:
    """Every call, to fail in each of its ways; those too that only a new service makes."""
    for call in study.warm:
        if _can_be_met(call):
            for error in errors_of(call):
                yield Point(operation, study.expected, call, error)
    yield from limits(operation, study)
    for call in _only_once(study):
        for error in errors_of(call):
            yield Point(operation, study.expected, call, error, new=True)


def limits(operation: Operation, study: Study) -> Iterator[Point]:
    """Every size that is written: the last byte is not, and then nothing more is."""
    seen = set()
    for call in study.warm:
        match = re.search(r", (\d+)( <unfinished \.\.\.>|\) += \d+)$", call.told)
        if call.name == "write" and match and "registry/" in call.told:
            size = int(match[1])
            if size not in seen:
                seen.add(size)
                yield Point(operation, study.expected, call._replace(count=size - 1), LIMIT)


def errors_of(call: RequestContext) -> tuple[str, ...]:
    """The errors with which ``call`` may fail."""
    if call.name == "fcntl" and "F_DUPFD" not in call.told:
        return ()
    if call.name == "openat" and "O_CREAT" in call.told:
        return ("ENOSPC", *ERRORS["openat"])
    return ERRORS.get(call.name, ())


def _can_be_met(call: RequestContext) -> bool:
    # The thread that writes a large file can be traced only together with all others, some
    # of which write, too. Its writing is met by limits, and between two writes it is killed.
    return call.thread != COPY or call.name == "sync_file_range"


def _only_once(study: Study) -> Iterator[RequestContext]:
    """What a new service does more often: of calls that look the same, each may be the one."""
    more = Counter(map(_unnumbered, study.cold)) - Counter(map(_unnumbered, study.warm))
    for call in study.cold:
        ours = "staging/" in call.told or "registry" in call.told
        if _unnumbered(call) in more and ours and call.thread == REQUEST:
            yield call


def _unnumbered(call: RequestContext) -> tuple[str, str]:
    """What a call is about: names of jobs and numbers of descriptors are another each time."""
    asked = re.split(r" = | <unfinished", call.told)[0]
    return call.name, re.sub(r"[0-9a-f]*[0-9][0-9a-f]*", "#", asked).rstrip(") ")
