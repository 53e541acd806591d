"""How many files a process may have open."""

from __future__ import annotations

import resource


def allow_many_files() -> None:
    """Raise the limit of open files of this process as far as the system allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
