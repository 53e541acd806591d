"""Real Unix accounts to submit requests as."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile

import pytest

ALICE, BOB, CAROL = ACCOUNTS = ("gtalice", "gtbob", "gtcarol")

USERADD = (
    *("flock", f"{tempfile.gettempdir()}/gobbler-tests-useradd", "sh", "-c"),
    'id "$0" || useradd --no-create-home --shell /usr/sbin/nologin "$0"',
)
"""Makes an account unless it is there; one at a time, for tests may run side by side."""

NOBODYS_UID = 54_321
"""A number that no account of a test machine has."""


def ensure_accounts() -> None:
    """Create the accounts that are missing; skip the test where that can't be done."""
    if os.getuid() != 0:
        pytest.skip("needs several Unix accounts, which only root can act for")
    for name in ACCOUNTS:
        if _exists(name):
            continue
        if shutil.which("useradd") is None:
            pytest.skip(f"there is no account {name}, and no useradd to make it with")
        command = [*USERADD, name]
        subprocess.run(command, check=True, capture_output=True)


def _exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
