"""The object on which the calls of ``pygobbler`` and the command line stand."""

from __future__ import annotations

from gobbler.client.calls.caching import Caching
from gobbler.client.calls.changes import Changes
from gobbler.client.calls.relating import Relating
from gobbler.client.calls.version import Versions
from gobbler.client.sweeping.sweeps import Sweeps
from gobbler.client.uploading.uploads import Uploads


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
