"""Foreign entries: what stands in a registry and is nobody's project, asset or version.

Sites put other things there: ``lost+found``, snapshots, a directory of another account. Whoever
walks the registry leaves them out and goes on. The log names each once.
"""

from __future__ import annotations

import errno
import functools
import logging
import os
import stat

from gobbler.errors import quoted

logger = logging.getLogger(__name__)

_REMEMBERED = 10_000
"""How many entries are named only once; with more, some are named again."""

_DENIED = frozenset({errno.EACCES, errno.EPERM})

_FOREIGN = _DENIED | {errno.ELOOP, errno.ENOTDIR, errno.ENAMETOOLONG}
"""Numbers of errors that an entry of the service itself never causes."""

_OWNERS_RIGHTS = stat.S_IRUSR | stat.S_IXUSR


def is_foreign(path: str, error: OSError) -> bool:
    """Whether the entry at ``path``, which caused ``error``, can't be the service's own.

    The service may enter whatever it has made. Any other error, as of a failing disk or file
    server, may hide versions: it must not be skipped where the answer depends on all of them.
    """
    if error.errno in _DENIED and _is_open_to_us(path):
        return False
    return error.errno in _FOREIGN


def _is_open_to_us(path: str) -> bool:
    """Whether ``path`` is a directory of this account, whose mode lets it in."""
    try:
        status = os.lstat(path)
    except OSError:
        return False
    is_own = stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()
    return is_own and status.st_mode & _OWNERS_RIGHTS == _OWNERS_RIGHTS


@functools.lru_cache(_REMEMBERED)
def report_skipped(path: str, problem: str) -> None:
    """Log that the entry at ``path`` of a registry is left out; only the first time."""
    logger.warning("skipping %s: %s", quoted(path), problem)


def skip(path: str, error: OSError) -> None:
    """Report the entry at ``path``; raises ``error`` unless the entry is foreign."""
    if not is_foreign(path, error):
        raise error
    report_skipped(path, error.strerror or str(error))
