"""What a filesystem says about a cache, for people."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from gobbler.errors import Fault, Forbidden, GobblerError, quoted

ELSEWHERE = "name another place with --cache or GOBBLER_CACHE"

_FULL = (errno.ENOSPC, errno.EDQUOT)
_CLOSED = (errno.EACCES, errno.EPERM, errno.EROFS)


@contextmanager
def explained(cache: str) -> Iterator[None]:
    """Turn an ``OSError`` about the cache directory ``cache`` into an error with a hint."""
    try:
        yield
    except GobblerError:
        raise  # some of them are an OSError as well, for the sake of old code
    except OSError as error:
        raise _explained(error, cache) from error


def _explained(error: OSError, cache: str) -> GobblerError:
    said = error.strerror or str(error)
    if error.errno in _FULL:
        return Fault(
            f"there is no space left for the cache {quoted(cache)}: {said}",
            hint=f"Free some with gobbler cache prune, or {ELSEWHERE}.",
        )
    path = error.filename2 or error.filename
    where = os.fsdecode(path) if isinstance(path, str | bytes) else cache
    if error.errno in _CLOSED:
        return Forbidden(
            f"the cache {quoted(cache)} can't be used: {said}: {quoted(where)}",
            hint=f"Mend its permissions, or {ELSEWHERE}.",
        )
    return Fault(
        f"the cache {quoted(cache)} is broken: {said}: {quoted(where)}",
        hint="See what is wrong: gobbler cache verify. "
        f"Remove that path, which costs only a download, or {ELSEWHERE}.",
    )
