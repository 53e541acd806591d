"""Which service, which directories, and which way to them."""

from __future__ import annotations

import functools
import os

from gobbler.client.cache import Cache, default_cache
from gobbler.client.http import Http
from gobbler.client.local import LocalSource
from gobbler.client.reading import Source
from gobbler.client.remote import RemoteSource, ServiceInfo
from gobbler.errors import Refused

StrPath = str | os.PathLike[str]


class Site:
    """A service and its directories, as they are seen from this machine.

    The base of what :class:`~gobbler.client.client.Client` can do; see there.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        staging: StrPath | None = None,
        registry: StrPath | None = None,
        cache: StrPath | None = None,
        force_remote: bool = False,
    ) -> None:
        self.url = url
        self._staging = staging
        self._registry = registry
        self._cache_root = cache
        self._force_remote = force_remote

    @functools.cached_property
    def _http(self) -> Http:
        if not self.url:
            raise Refused(
                "the address of the service is needed for that",
                hint="Give it as `url`, on the command line as --url or GOBBLER_URL.",
            )
        return Http(self.url)

    def info(self) -> ServiceInfo:
        """What the service tells about itself, asked anew."""
        return self._http.get("/info", ServiceInfo)

    @functools.cached_property
    def staging(self) -> str:
        """The staging directory."""
        return os.fspath(self._staging) if self._staging is not None else self.info().staging

    @functools.cached_property
    def registry(self) -> str:
        """The registry, whether or not it is a directory on this machine."""
        return os.fspath(self._registry) if self._registry is not None else self.info().registry

    @functools.cached_property
    def _local(self) -> LocalSource | None:
        """The registry if it is mounted here and may be read from there."""
        if self._force_remote:
            return None
        if os.path.isdir(self.registry):
            return LocalSource(self.registry)
        if not self.url:
            raise Refused(
                f"the registry {self.registry} is not a directory on this machine",
                hint="Check its path, or give the address of the service.",
            )
        return None

    @property
    def can_read(self) -> bool:
        """Whether it is known where to read: a service, or a registry."""
        return bool(self.url) or self._registry is not None

    @functools.cached_property
    def _source(self) -> Source:
        return self._local or RemoteSource(self._http)

    @functools.cached_property
    def cache(self) -> str:
        """The directory for what is fetched over HTTP."""
        return default_cache() if self._cache_root is None else os.fspath(self._cache_root)

    @functools.cached_property
    def _cache(self) -> Cache:
        return Cache(self.cache, self._http)
