"""Which service, which directories, and which way to them."""

from __future__ import annotations

import functools
import os

from gobbler.client import config
from gobbler.client.cache.cache import Cache, default_cache
from gobbler.client.http import Http
from gobbler.client.resolve import ServiceConfig, Setting, resolve, resolve_cache
from gobbler.client.source import LocalSource, RemoteSource, ServiceInfo, Source
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
        service: str | None = None,
    ) -> None:
        given = {"url": url, "staging": staging, "registry": registry}
        self._given = {name: os.fspath(value) for name, value in given.items() if value is not None}
        self._service = service
        self._cache_root = cache
        self._force_remote = force_remote

    @property
    def _is_told(self) -> bool:
        """Whether it was told what to use, so that it must not look for anything else."""
        return bool(self._given) and self._service is None

    @functools.cached_property
    def _located(self) -> ServiceConfig:
        if self._is_told:
            return ServiceConfig(
                None, {name: Setting(v, "given") for name, v in self._given.items()}
            )
        return resolve(self._given, self._service)

    @property
    def url(self) -> str | None:
        """The address of the service, if it has one."""
        return self._located.get("url")

    @property
    def uses_default_url(self) -> bool:
        """Whether no service is configured, so that the one on this machine is used."""
        return self._located.is_default

    @property
    def whereabouts(self) -> dict[str, str | None]:
        """``url`` and ``registry`` as they are known without asking the service."""
        return {name: self._located.get(name) for name in ("url", "registry")}

    @functools.cached_property
    def _http(self) -> Http:
        if not self.url:
            raise Refused(
                "the address of the service is needed for that",
                hint="Give it as `url` (--url), set GOBBLER_URL, or once and for all: "
                "gobbler config set service.NAME.url URL",
            )
        return Http(self.url)

    def info(self) -> ServiceInfo:
        """What the service tells about itself, asked anew."""
        return self._http.get("/info", ServiceInfo)

    @functools.cached_property
    def staging(self) -> str:
        """The staging directory."""
        known = self._located.get("staging")
        return self.info().staging if known is None else known

    @functools.cached_property
    def registry(self) -> str:
        """The registry, whether or not it is a directory on this machine."""
        known = self._located.get("registry")
        return self.info().registry if known is None else known

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
        return bool(self.url) or self._located.get("registry") is not None

    @functools.cached_property
    def _source(self) -> Source:
        return self._local or RemoteSource(self._http)

    @functools.cached_property
    def cache(self) -> str:
        """The directory for what is fetched over HTTP."""
        if self._cache_root is not None:
            return os.fspath(self._cache_root)
        if self._is_told:
            return default_cache()
        found = resolve_cache(os.environ, config.read_configs(os.environ))
        return default_cache() if found is None else found.value

    @functools.cached_property
    def _cache(self) -> Cache:
        return Cache(self.cache, self._http)
