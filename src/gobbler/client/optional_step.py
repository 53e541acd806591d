"""Optional steps: what is tried, and fails nothing that was asked."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator

from gobbler.client.notices import StepFailed, notify_once

_LOSES_DATA = (errno.EIO, errno.ENOSPC, errno.EDQUOT)


@contextlib.contextmanager
def optional_step(what: str) -> Iterator[None]:
    """Warn once if the filesystem refuses the block, which should ``what``.

    Such as flush, or change a mode or a time. Errors that mean lost data are raised.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _LOSES_DATA:
            raise
        notify_once(f"could not {what}: {error.strerror}; going on without that", StepFailed)
