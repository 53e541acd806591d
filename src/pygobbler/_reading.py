"""The clients that read: the functions have no state, but programs call them again and again."""

from __future__ import annotations

import functools
import os

from gobbler.client import Client

_VARIABLES = ("GOBBLER_OFFLINE", "GOBBLER_CACHE", "XDG_DATA_HOME", "HOME", "TMPDIR")
"""What a client takes from the environment when it is made, or first reads."""


def reading_client(
    url: str, registry: str, *, cache: str | None = None, force_remote: bool = False
) -> Client:
    """The client of an earlier call with the same arguments, where nothing else has changed.

    It has connections to the service, and the manifest of the last version in memory. It asks as
    a new one does whether that is still the same.
    """
    surroundings = (
        os.getcwd(),
        os.geteuid(),
        os.path.isdir(registry),
        *(os.environ.get(name) for name in _VARIABLES),
    )
    return _client(url, os.fspath(registry), cache, force_remote, surroundings)


@functools.lru_cache(maxsize=4)
def _client(
    url: str, registry: str, cache: str | None, force_remote: bool, surroundings: tuple[object, ...]
) -> Client:
    del surroundings  # only tells one client from another
    return Client(url, registry=registry, cache=cache, force_remote=force_remote)
