"""Failures of calls on open files, which know no path: say what was done, and to what."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from gobbler.errors import Fault, quoted

_HINTS = {
    errno.ENOSPC: "Free some space on that filesystem, then try again.",
    errno.EDQUOT: "The service's account has used up its quota there.",
    errno.EROFS: "Mount that filesystem for writing, then try again.",
    errno.EMFILE: "Let the service open more files (ulimit -n), or try again later.",
}


@contextmanager
def naming(operation: str, path: str) -> Iterator[None]:
    """Turn an ``OSError`` into a :class:`~gobbler.errors.Fault`: could not ... ``path``."""
    try:
        yield
    except OSError as error:
        raise fault_of(error, operation, path) from error


def fault_of(error: OSError, operation: str, path: str) -> Fault:
    """The fault that tells ``error``, met while trying to ``operation`` the ``path``."""
    reason = error.strerror or str(error)
    return Fault(
        f"could not {operation} {quoted(path)}: {reason}", hint=_HINTS.get(error.errno or 0, "")
    )
