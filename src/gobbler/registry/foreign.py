"""Foreign entries: what stands in a registry and is nobody's project, asset or version.

Sites put other things there: ``lost+found``, snapshots, a directory of another account. Whoever
walks the registry leaves them out and goes on. The log names each once.
"""

from __future__ import annotations

import errno
import functools
import logging

from gobbler.errors import quoted

logger = logging.getLogger(__name__)

_REMEMBERED = 10_000
"""How many entries are named only once; with more, some are named again."""

_FOREIGN = frozenset({errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENOTDIR, errno.ENAMETOOLONG})
"""Numbers of errors that an entry of the service itself never causes."""


def is_foreign(error: OSError) -> bool:
    """Whether the entry that caused ``error`` can't be the service's own.

    The service may enter whatever it has made. Any other error, as of a failing disk, may hide
    versions: it must not be skipped where the answer depends on all of them.
    """
    return error.errno in _FOREIGN


@functools.lru_cache(_REMEMBERED)
def report_skipped(path: str, problem: str) -> None:
    """Log that the entry at ``path`` of a registry is left out; only the first time."""
    logger.warning("skipping %s: %s", quoted(path), problem)


def skip(path: str, error: OSError) -> None:
    """Report the entry at ``path``; raises ``error`` unless the entry is foreign."""
    if not is_foreign(error):
        raise error
    report_skipped(path, error.strerror or str(error))
