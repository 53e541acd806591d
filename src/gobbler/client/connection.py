"""The connection to one service: its address, its directories, and requests to it.

Everything that a :class:`~gobbler.client.client.Client` hands out shares the connection of the
client. It opens nothing before the first call, may be used by many threads, and can be pickled:
the copy means the same service, also on a host with another configuration.
"""

from __future__ import annotations

import contextlib
import functools
import os
from typing import TypeVar

import msgspec

from gobbler.client.cache.cache import Cache, default_cache
from gobbler.client.errors import RequestFailed, request_failed
from gobbler.client.http import Http
from gobbler.client.jobs import HttpJobReader, Job, JobReader, SpoolJobReader
from gobbler.client.notices import notify_of_answer
from gobbler.client.resolve import ServiceConfig, check_default_service, configured_cache, resolve
from gobbler.client.source import LocalSource, RemoteSource, ServiceInfo, Source
from gobbler.client.submit import submit, submit_to_spool
from gobbler.errors import Code, GobblerError, Refused
from gobbler.model.jobs import JobState, job_answer, job_name
from gobbler.model.progress import Progress

StrPath = str | os.PathLike[str]

T = TypeVar("T")


class _Root(msgspec.Struct, frozen=True):
    actions: tuple[str, ...] = ()


class Connection:
    """A service and its directories, as one user on one machine sees them.

    Two connections are equal if they were made with the same arguments.
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
        self._cache = None if cache is None else os.fspath(cache)
        self._force_remote = force_remote
        # Each is found when it is first needed. `functools.cached_property` would hold a lock
        # while it asks the service, and a process forked at that moment would wait for it forever.
        self._resolved: ServiceConfig | None = None
        self._info: ServiceInfo | None = None
        self._actions: frozenset[str] | None = None
        self._http: Http | None = None
        self._source: Source | None = None
        self._open_cache: Cache | None = None

    @property
    def _arguments(self) -> tuple[object, ...]:
        given = {**self._given, "url": self._given.get("url", "").rstrip("/")}
        return (*sorted(given.items()), self._service, self._cache, self._force_remote)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Connection) and self._arguments == other._arguments

    def __hash__(self) -> int:
        return hash(self._arguments)

    def __getstate__(self) -> dict[str, object]:
        with contextlib.suppress(GobblerError):
            self.resolved  # noqa: B018 - so that the copy need not resolve it elsewhere
        found = ("_info", "_actions", "_http", "_source", "_open_cache")
        return self.__dict__ | dict.fromkeys(found)

    def __str__(self) -> str:
        """The service, as far as it is known without a request."""
        known = self._resolved
        if known is None and self._is_explicit:
            known = self.resolved
        if known is None:
            return self._service or "the configured service"
        return known.get("url") or known.get("registry") or known.get("staging") or "nothing"

    @property
    def _is_explicit(self) -> bool:
        """Whether the caller described the service, so that no configuration is read."""
        return bool(self._given) and self._service is None

    @property
    def resolved(self) -> ServiceConfig:
        """The settings of the service that is meant; sends no request."""
        if self._resolved is None:
            if self._is_explicit:
                self._resolved = ServiceConfig.given(self._given)
            else:
                self._resolved = resolve(self._given, self._service)
        return self._resolved

    @property
    def url(self) -> str | None:
        """The address of the service, if it has one."""
        return self.resolved.get("url")

    @property
    def uses_default_url(self) -> bool:
        """Whether no service is configured, so that the one on this machine is used."""
        return self.resolved.is_default

    @property
    def http(self) -> Http:
        """The service over HTTP; :class:`~gobbler.errors.Refused` if it has no address."""
        if self._http is None:
            if not self.url:
                raise Refused(
                    "this call needs the address of the service",
                    code=Code.MISCONFIGURED,
                    hint="Pass it as `url` (--url), set GOBBLER_URL, or once and for all: "
                    "gobbler config set service.NAME.url URL",
                )
            if self.uses_default_url:
                check_default_service()
            self._http = Http(self.url)
        return self._http

    def info(self) -> ServiceInfo:
        """The directories of the service; sends a request each time."""
        return self.http.get("/info", ServiceInfo)

    def knows(self, action: str) -> bool:
        """Whether the service announces the action; asks it once. The Go service announces none."""
        if self._actions is None:
            try:
                self._actions = frozenset(self.http.get("/", _Root).actions)
            except RequestFailed:  # a proxy that passes on only what it must
                self._actions = frozenset()
        return action in self._actions

    def _known(self, directory: str) -> str:
        """A directory of the service: as given or configured, else as the service reports it."""
        known = self.resolved.get(directory)
        if known is not None:
            return known
        if self._info is None:
            self._info = self.info()
        return str(getattr(self._info, directory))

    @property
    def staging(self) -> str:
        """The staging directory."""
        return self._known("staging")

    @property
    def registry(self) -> str:
        """The registry, whether or not it is a directory on this machine."""
        return self._known("registry")

    @property
    def can_read(self) -> bool:
        """Whether there is something to read from: a service, or a registry."""
        return bool(self.url) or self.resolved.get("registry") is not None

    @property
    def source(self) -> Source:
        """The way to read: the registry where it is mounted, else HTTP."""
        if self._source is None:
            self._source = self._find_source()
        return self._source

    def _find_source(self) -> Source:
        if not self._force_remote:
            if os.path.isdir(self.registry):
                return LocalSource(self.registry)
            if not self.url:
                raise Refused(
                    f"the registry {self.registry} is not a directory on this machine",
                    code=Code.NOT_A_DIRECTORY,
                    hint="Check its path, or pass the address of the service.",
                )
        return RemoteSource(self.http)

    @property
    def local(self) -> LocalSource | None:
        """The registry if it is mounted here and may be read directly."""
        source = self.source
        return source if isinstance(source, LocalSource) else None

    @property
    def cache_directory(self) -> str:
        """The directory for what is fetched over HTTP."""
        if self._cache is not None:
            return self._cache
        if self._is_explicit:
            return default_cache()
        configured = configured_cache()
        return default_cache() if configured is None else configured.value

    @property
    def cache(self) -> Cache:
        """The part of the cache that belongs to the service."""
        if self._open_cache is None:
            self._open_cache = Cache(self.cache_directory, self.http)
        return self._open_cache

    def request(self, action: str, **fields: object) -> dict[str, object]:
        """Send the request ``action`` and return the service's answer.

        The fields are those in docs/http.md; those that are ``None`` are left out. Without the
        address of a service the request goes through the spool of ``staging``.
        """
        if self.url:
            answer = submit(self.http, self.staging, action, fields)
        else:
            answer = self.start(action, **fields).wait()
        notify_of_answer(answer)
        return answer

    def request_as(self, kind: type[T], action: str, **fields: object) -> T:
        """Send the request ``action`` and return the answer as a ``kind``."""
        answer = self.request(action, **fields)
        try:
            return msgspec.convert(answer, kind)
        except msgspec.ValidationError as error:
            raise request_failed(
                500, f"the service's answer to {action} can't be read: {error}"
            ) from error

    def start(self, action: str, **fields: object) -> Job:
        """Send the request ``action`` and return its job, without waiting for it.

        A service that knows no jobs carries out the request before this returns.
        """
        if not self.url:
            return self._job(submit_to_spool(self.staging, action, fields), is_new=True)
        answer = submit(self.http, self.staging, action, fields, wait=False)
        name = answer.get("job")
        if answer["status"] == "ACCEPTED" and isinstance(name, str):
            return self._job(name, is_new=True)
        done = JobState("", action, "", "done", "", answer=job_answer(answer, 200))
        return Job.ended(done)

    def follow(self, progress: Progress, action: str, **fields: object) -> dict[str, object]:
        """Send the request ``action`` as a job, report its progress, and return the answer.

        Cancels the job when the wait is interrupted.
        """
        job = self.start(action, **fields)
        try:
            answer = job.wait(progress=progress)
        except BaseException as error:
            if not isinstance(error, Exception) and not job.state().is_final:
                job.cancel()
            raise
        notify_of_answer(answer)
        return answer

    def job(self, name: str) -> Job:
        """The job ``name``, or the user's own job whose request file has that name."""
        full = name if name.partition("-")[0].isdigit() else job_name(os.geteuid(), name)
        return self._job(full, is_new=False)

    def _job(self, name: str, *, is_new: bool) -> Job:
        reader: JobReader = HttpJobReader(self.http) if self.url else SpoolJobReader(self.staging)
        cancel = functools.partial(self.request, "cancel_job", job=name)
        return Job(name, reader, cancel, is_new=is_new)
