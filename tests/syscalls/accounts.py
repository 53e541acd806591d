"""The account that is not the service's."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile

from .operations import OTHER

USERADD = (
    *("flock", f"{tempfile.gettempdir()}/gobbler-tests-useradd", "sh", "-c"),
    'id "$0" || useradd --no-create-home --shell /usr/sbin/nologin "$0"',
)
"""Makes an account unless it is there; one at a time, for tests may run side by side."""


def why_no_accounts() -> str:
    """Why there is no other account to act for; empty if there is (it is made if need be)."""
    if os.geteuid() != 0:
        return "only root can act for others"
    try:
        pwd.getpwnam(OTHER)
    except KeyError:
        if shutil.which("useradd") is None:
            return f"there is no account {OTHER}, and no useradd to make it with"
        command = [*USERADD, OTHER]
        subprocess.run(command, check=True, capture_output=True)
    return ""
