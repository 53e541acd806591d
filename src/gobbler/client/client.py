"""The object on which the calls of ``pygobbler`` and the command line stand.

Clients of whoever is given a part of what says which service: the rest is looked for.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from gobbler.client import config
from gobbler.client.bulk.bulk import Sweeps
from gobbler.client.calls.caching import Caching
from gobbler.client.calls.changes import Changes
from gobbler.client.calls.relating import Relating
from gobbler.client.calls.version import Versions
from gobbler.client.resolve import resolve_cache, resolve_service
from gobbler.client.upload import Uploads


class Client(Caching, Uploads, Changes, Sweeps, Versions, Relating):
    """A service and its registry, as one user on one machine sees them.

    ``url`` is the address of the service. ``staging`` and ``registry`` are its directories
    as they are mounted here; what is not given is asked of the service when it is needed.
    With none of these the service is found: by ``GOBBLER_URL`` (and ``GOBBLER_STAGING``,
    ``GOBBLER_REGISTRY``), else as ``GOBBLER_SERVICE`` or the configuration files say. With
    ``service`` it is the one of that name in these files, but for what is given besides.
    Reads go straight to ``registry`` where that is a directory here, else (or with
    ``force_remote``) over HTTP into ``cache``, by default the user's own (see
    :func:`~gobbler.client.cache.cache.default_cache`). Changes need ``staging``.

    Nothing is opened or asked before the first call, and nothing needs to be closed. A
    client may be shared between threads. Names are checked before anything is asked:
    :class:`~gobbler.errors.Refused`. What is not there is
    :class:`~gobbler.errors.Missing`; other errors are in :mod:`gobbler.client.errors`.
    """


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
    files = config.read_configs(os.environ)
    located = resolve_service(stated, service or None, os.environ, files)
    found = resolve_cache(os.environ, files)
    return Client(
        # With nothing given, the client finds the default by itself, and knows that it is one.
        None if located.is_default else located.get("url"),
        staging=located.get("staging"),
        registry=located.get("registry"),
        cache=cache or (found.value if found else None),
        force_remote=force_remote,
    )
