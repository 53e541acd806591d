"""Clients of whoever is given a part of what says which service: the rest is looked for."""

from __future__ import annotations

import os
from collections.abc import Mapping

from gobbler.client.client import Client
from gobbler.client.connecting import configuring
from gobbler.client.connecting.locating import locate, locate_cache


def find_client(
    given: Mapping[str, str | None],
    *,
    service: str | None = None,
    cache: str | None = None,
    force_remote: bool = False,
) -> Client:
    """The client of the service that is meant; what is ``None`` or empty is not given.

    What is ``given`` of ``url``, ``staging`` and ``registry``, and the name of the
    ``service``, come before the environment and the configuration files.
    """
    stated = {name: value for name, value in given.items() if value}
    files = configuring.read_all(os.environ)
    located = locate(stated, service or None, os.environ, files)
    found = locate_cache(os.environ, files)
    return Client(
        located.get("url"),
        staging=located.get("staging"),
        registry=located.get("registry"),
        cache=cache or (found.value if found else None),
        force_remote=force_remote,
    )
