"""Records as the dicts and lists that ``pygobbler`` answers and ``--json`` prints."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from gobbler.records import Manifest


def plain(record: Struct | Manifest) -> dict[str, Any]:
    """``record`` as it would be read from its JSON: of dicts, lists, text and numbers."""
    return msgspec.json.decode(msgspec.json.encode(record), type=dict[str, Any])
