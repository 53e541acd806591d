"""Comparison of a cache with the services that its files came from.

A version can be deleted, and another be published under its name; what the cache has of it is then
outdated. Nothing here changes the cache.
"""

from __future__ import annotations

import os
from pathlib import Path

from gobbler.client.cache.entries import CacheEntry, manifest_of
from gobbler.client.cache.records import condition
from gobbler.client.expected import decoded, version_of
from gobbler.client.http import Http, fetch_endpoint
from gobbler.client.notices import Unvalidated, notify
from gobbler.errors import Code, Fault, GobblerError, Missing, Unreachable, quoted
from gobbler.model.names import MANIFEST, VersionKey

GONE = "its version is not in the registry any more"
REPLACED = "another version has been published under its name"


class ServiceComparison:
    """Compares entries of a cache with their services; asks once for each version.

    If ``offline``, or where a service does not answer, nothing is outdated.
    """

    def __init__(self, *, offline: bool) -> None:
        self._offline = offline
        self._silent: set[str] = set()
        self._found: dict[tuple[str, bytes], str | None] = {}

    def problem(self, entry: CacheEntry) -> str | None:
        """Why ``entry`` is outdated; ``None`` if it is not, or if nobody can tell."""
        path = entry.path
        if path.endswith(f"/{MANIFEST}"):
            path = os.path.dirname(path)
        key = version_of(path)
        if key is None or self._offline or entry.service in self._silent:
            return None
        try:
            content = Path(manifest_of(entry, key)).read_bytes()
            decoded(key, content)
        except (OSError, Fault):
            return None  # it is damaged, or an administrator put the directory there by hand
        known = (f"{entry.service}/{key.path}", content)
        if known not in self._found:
            self._found[known] = self._ask(entry, key, content)
        return self._found[known]

    def _ask(self, entry: CacheEntry, key: VersionKey, content: bytes) -> str | None:
        record = Path(entry.root, "files", key.manifest)
        headers = {}
        if record.is_file() and record.read_bytes() == content:
            headers = condition(Path(entry.root), key.manifest)
        try:
            answer = Http(entry.service).answer(
                fetch_endpoint(key.manifest), headers=headers, accept=(304,)
            )
        except Missing:
            return GONE
        except Unreachable as error:
            self._silent.add(entry.service)
            notify(f"{error.reason}; what came from there is not compared with it", Unvalidated)
            return None
        except GobblerError as error:
            if error.code != Code.INVALID_ANSWER:
                notify(f"{quoted(key.path)} is not compared: {error.reason}", Unvalidated)
            return None
        return None if answer.status == 304 or answer.body == content else REPLACED
