"""Addresses that the shell completes: what is in the registry, as far as that is quick to say.

Nobody who presses the tab key wants to wait or to read errors: what takes longer than a
moment, or fails, completes to nothing.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping
from typing import Any

from click.shell_completion import CompletionItem

from gobbler.client import Client
from gobbler.client.calls.addresses import LATEST, Address, resolve
from gobbler.client.finding import find_client
from gobbler.errors import GobblerError
from gobbler.names import is_internal

SECONDS = 2.0
"""For how long the shell may be kept waiting."""

MANY = 1000
"""Candidates that are offered at most; a shell asks before it shows a hundred."""


def completed(options: Mapping[str, Any], incomplete: str) -> list[CompletionItem]:
    """What an address that begins with ``incomplete`` may be; ``options``: of the command."""
    found: list[str] = []

    def look() -> None:
        with contextlib.suppress(GobblerError, OSError):
            found.extend(candidates(_client(options), incomplete))

    # A service that does not answer must not keep the shell, nor the end of this process.
    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    looking.join(SECONDS)
    return [CompletionItem(address) for address in found[:MANY]]


def _client(options: Mapping[str, Any]) -> Client:
    return find_client(
        {"url": options.get("url"), "registry": options.get("registry")},
        service=options.get("service"),
        cache=options.get("cache"),
        force_remote=bool(options.get("remote")),
    )


def candidates(client: Client, incomplete: str) -> list[str]:
    """The addresses that begin with ``incomplete``, one component further.

    What there is more in ends with a slash, but a version is complete without. A shell puts
    a space behind the only candidate; where that is not the end, what is in it is told, too.
    """
    if not client.can_read:
        return []
    while True:
        above, slash, begun = incomplete.rpartition("/")
        names = [name for name in _names(client, above) if name.startswith(begun)]
        found = [f"{above}{slash}{name}" for name in names]
        if len(found) != 1 or not found[0].endswith("/"):
            return found
        incomplete = found[0]


def _names(client: Client, above: str) -> list[str]:
    """The names in ``above``, which is complete; those with more in them with a slash."""
    parts = above.split("/", 3) if above else []
    if any(not part or is_internal(part) for part in parts):
        return []
    if len(parts) == 0:
        return [f"{name}/" for name in client.projects()]
    if len(parts) == 1:
        return [f"{name}/" for name in client.assets(*parts)]
    if len(parts) == 2:
        return [*client.versions(*parts), LATEST]
    place = resolve(client, Address(*parts))
    inside = client.version(place.project, place.asset, place.version).directory(place.path)
    return [f"{name}/" if entry is None else name for name, entry in inside.items()]
