"""What becomes of a job whose attempt has ended with an error that is none of the request."""

from __future__ import annotations

from gobbler.errors import Code, GobblerError

_RETRIED = (Code.WORKSPACE_IN_USE, Code.LOCK_TIMEOUT)


def is_retried(error: Exception) -> bool:
    """Whether a job that ends with ``error`` begins again: others use what it needs."""
    return isinstance(error, GobblerError) and error.code in _RETRIED


def ends_worker(error: Exception) -> bool:
    """Whether the process where ``error`` arose can do no more work, so another one goes on."""
    return isinstance(error, GobblerError) and error.code == Code.EXECUTOR_BROKEN


def is_resumed(error: Exception) -> bool:
    """Whether what was made until ``error`` is of use to another attempt."""
    return is_retried(error) or ends_worker(error)
