"""Names in ``..incoming`` that no other process chooses."""

from __future__ import annotations

import secrets
import time


def unique_name() -> str:
    """A name that no other call on any host returns. Names sort by their time."""
    return f"{time.time_ns():x}-{secrets.token_hex(4)}"
