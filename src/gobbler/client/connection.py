"""The connection to one service: its address, its directories, and requests to it.

Everything that a :class:`~gobbler.client.client.Client` hands out shares the connection of the
client. It opens nothing before the first call, may be used by many threads, and can be pickled:
the copy means the same service, also on a host with another configuration.
"""

from __future__ import annotations

import contextlib
import functools
import os
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeVar

import msgspec

from gobbler.client import errors
from gobbler.client.errors import request_failed
from gobbler.client.http import Http
from gobbler.client.notices import StepFailed, notify_of_answer, notify_once
from gobbler.client.resolve import (
    ServiceConfig,
    check_default_service,
    configured_cache,
    resolve,
    resolve_cache,
)
from gobbler.client.service_url import shown_url
from gobbler.client.source import LocalSource, RemoteSource, ServiceInfo, Source
from gobbler.client.user_directories import default_cache, temporary_directory
from gobbler.errors import Code, GobblerError, Refused, Unreachable, printable, quoted
from gobbler.fs.utf8_mode import VARIABLE, is_utf8
from gobbler.model.names import LOGS
from gobbler.model.progress import NoProgress, Progress

if TYPE_CHECKING:
    from gobbler.client.cache.cache import Cache
    from gobbler.client.jobs import Job, JobReader
    from gobbler.client.staging_directory import StagingDirectory
    from gobbler.model.jobs import JobState

StrPath = str | os.PathLike[str]

T = TypeVar("T")


def is_offline_set() -> bool:
    """Whether ``GOBBLER_OFFLINE`` says that no service is to be asked."""
    return os.environ.get("GOBBLER_OFFLINE", "").lower() in ("1", "true", "yes", "on")


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
        offline: bool | None = None,
    ) -> None:
        if not is_utf8():
            warnings.warn(
                "file names are not UTF-8 in this process, so those of a registry may be read and "
                f"written wrongly; start Python with {VARIABLE}=1",
                RuntimeWarning,
                stacklevel=3,
            )
        given = {"url": url, "staging": staging, "registry": registry}
        self._given = {name: os.fspath(value) for name, value in given.items() if value is not None}
        self._service = service
        self._cache = None if cache is None else os.fspath(cache)
        self._force_remote = force_remote
        self._offline = is_offline_set() if offline is None else offline
        # Each is found when it is first needed. `functools.cached_property` would hold a lock
        # while it asks the service, and a process forked at that moment would wait for it forever.
        self._resolved: ServiceConfig | None = None
        self._info: ServiceInfo | None = None
        self._actions: frozenset[str] | None = None
        self._http: Http | None = None
        self._source: Source | None = None
        self._open_cache: Cache | None = None
        self._default_cache: str | None = None

    @property
    def _arguments(self) -> tuple[object, ...]:
        given = {**self._given, "url": self._given.get("url", "").rstrip("/")}
        return (
            *sorted(given.items()),
            self._service,
            self._cache,
            self._force_remote,
            self._offline,
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Connection) and self._arguments == other._arguments

    def __hash__(self) -> int:
        return hash(self._arguments)

    def __getstate__(self) -> dict[str, object]:
        with contextlib.suppress(GobblerError):
            self.resolved  # noqa: B018 - so that the copy need not resolve it elsewhere
        found = ("_info", "_actions", "_http", "_source", "_open_cache", "_default_cache")
        return self.__dict__ | dict.fromkeys(found)

    def __str__(self) -> str:
        """The service, as far as it is known without a request."""
        known = self._resolved
        if known is None and self._is_explicit:
            known = self.resolved
        if known is None:
            return self._service or "the configured service"
        url = known.get("url")
        directory = known.get("registry") or known.get("staging") or "nothing"
        return printable(shown_url(url) if url else directory)

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
    def is_offline(self) -> bool:
        """Whether no request is sent."""
        return self._offline

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
            if self.uses_default_url and not self._offline:
                check_default_service()
            self._http = Http(self.url, offline=self._offline)
        return self._http

    def info(self) -> ServiceInfo:
        """The directories of the service; sends a request each time."""
        return self.http.get("/info", ServiceInfo)

    def reported(self) -> ServiceInfo:
        """The directories of the service, as it reported them when it was first asked."""
        if self._info is None:
            self._info = self.info()
        return self._info

    def knows(self, action: str) -> bool:
        """Whether the service announces the action; asks it once. The Go service announces none."""
        if self._actions is None:
            try:
                self._actions = frozenset(self.http.get("/", _Root).actions)
            except errors.RequestFailed:  # a proxy that passes on only what it must
                self._actions = frozenset()
        return action in self._actions

    def _known(self, directory: str) -> str:
        """A directory of the service: as given or configured, else as the service reports it."""
        known = self.resolved.get(directory)
        if known is not None:
            return known
        return str(getattr(self.reported(), directory))

    @property
    def staging(self) -> str:
        """The staging directory."""
        return self._known("staging")

    @property
    def staging_directory(self) -> StagingDirectory:
        """The staging directory, to put something into it."""
        from gobbler.client.staging_directory import StagingDirectory

        return StagingDirectory(self.staging, self._is_service)

    def _is_service(self, uid: int) -> bool:
        """Whether ``uid`` is the account of the service, which is the owner of the registry.

        A service that only claims to be one could name any directory as its registry, but not
        one with the logs of a service of another account.
        """
        try:
            registry = self.resolved.get("registry")
            if registry is not None:
                return os.stat(registry).st_uid == uid
            if self.url:
                return all(os.stat(path).st_uid == uid for path in self._registry_and_logs())
        except OSError:
            pass  # it is not on this machine
        # Nothing contradicts: it counts whether somebody other than the service vouches for it.
        return self.resolved.get("staging") is not None

    def _registry_and_logs(self) -> tuple[str, str]:
        return self.registry, f"{self.registry}/{LOGS}"

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
            registry = self._known_registry()
            if registry is not None and os.path.isdir(registry):
                return LocalSource(registry)
            if not self.url:
                raise Refused(
                    f"the registry {self.registry} is not a directory on this machine",
                    code=Code.NOT_A_DIRECTORY,
                    hint="Check its path, or pass the address of the service.",
                )
        return RemoteSource(self.http)

    def _known_registry(self) -> str | None:
        """The registry; ``None`` if no service answers, so that only the cache can be read."""
        try:
            return self.registry
        except Unreachable:
            return None

    @property
    def local(self) -> LocalSource | None:
        """The registry if it is mounted here and may be read directly."""
        source = self.source
        return source if isinstance(source, LocalSource) else None

    @property
    def cache_directory(self) -> str:
        """The directory for what is fetched over HTTP."""
        return self._chosen_cache() or self._default_cache or default_cache()

    def _chosen_cache(self) -> str | None:
        """The directory that somebody has chosen."""
        if self._cache is not None:
            return self._cache
        configured = resolve_cache(os.environ, []) if self._is_explicit else configured_cache()
        return None if configured is None else configured.value

    def replace_default_cache(self, reason: str) -> bool:
        """Use a temporary directory instead of the default cache, which can't be used: ``reason``.

        ``False`` if nothing was replaced: somebody has chosen the directory, or it is that one.
        """
        if self._chosen_cache() is not None or self._default_cache is not None:
            return False
        self._default_cache = temporary_directory()
        self._open_cache = None
        notify_once(f"{reason}; using {quoted(self._default_cache)} instead", StepFailed)
        return True

    @property
    def cache(self) -> Cache:
        """The part of the cache that belongs to the service."""
        if self._open_cache is None:
            from gobbler.client.cache.cache import Cache

            self._open_cache = Cache(self.cache_directory, self.http)
        return self._open_cache

    def request(self, action: str, **fields: object) -> dict[str, object]:
        """Send the request ``action`` and return the service's answer.

        The fields are those in docs/http.md; those that are ``None`` are left out. Without the
        address of a service the request goes through the spool of ``staging``.
        """
        from gobbler.client.submit import submit

        if not self.url:
            return self._through_spool(NoProgress(), action, fields)
        answer = submit(self.http, self.staging_directory, action, fields)
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
        from gobbler.client.jobs import Job
        from gobbler.client.submit import new_request_name, submit, submit_to_spool
        from gobbler.model.jobs import JobState, job_answer, job_name

        if not self.url:
            name = new_request_name(action)
            submit_to_spool(self.staging_directory, name, fields)
            return self._job(job_name(os.geteuid(), name), is_new=True)
        answer = submit(self.http, self.staging_directory, action, fields, wait=False)
        job = answer.get("job")
        if answer["status"] == "ACCEPTED" and isinstance(job, str):
            return self._job(job, is_new=True)
        done = JobState("", action, "", "done", "", answer=job_answer(answer, 200))
        return Job.ended(done)

    def follow(self, progress: Progress, action: str, **fields: object) -> dict[str, object]:
        """Send the request ``action`` as a job, report its progress, and return the answer.

        Cancels the job when the wait is interrupted.
        """
        if not self.url:
            return self._through_spool(progress, action, fields)
        with _given_up_on_interrupt(job := self.start(action, **fields)):
            return job.wait(progress=progress)

    def _through_spool(
        self, progress: Progress, action: str, fields: dict[str, object]
    ) -> dict[str, object]:
        from gobbler.client.submit import new_request_name, submit_to_spool
        from gobbler.model.jobs import job_name

        name = new_request_name(action)
        with _given_up_on_interrupt(job := self._job(job_name(os.geteuid(), name), is_new=True)):
            submit_to_spool(self.staging_directory, name, fields)
            return job.wait(progress=progress)

    def job(self, name: str) -> Job:
        """The job ``name``, or the user's own job whose request file has that name."""
        from gobbler.model.jobs import full_job_name

        return self._job(full_job_name(os.geteuid(), name), is_new=False)

    def _cancel(self, job: str) -> JobState | None:
        """Cancel ``job``; its state, if it waited in the inbox and needs no worker for that."""
        from gobbler.client.jobs import cancelled_state
        from gobbler.client.submit import withdraw
        from gobbler.model.jobs import split_job

        if not self.url:
            owner, name = split_job(job)
            if owner == os.geteuid() and withdraw(self.staging_directory, name):
                return cancelled_state(job)
        self.request("cancel_job", job=job)
        return None

    def _job(self, name: str, *, is_new: bool) -> Job:
        from gobbler.client import staged_copies
        from gobbler.client.jobs import HttpJobReader, Job, SpoolJobReader

        reader: JobReader = HttpJobReader(self.http) if self.url else SpoolJobReader(self.staging)
        cancel = functools.partial(self._cancel, name)
        job = Job(name, reader, cancel, is_new=is_new)
        job.when_ended(functools.partial(staged_copies.remove_of_job, name))
        return job


@contextlib.contextmanager
def _given_up_on_interrupt(job: Job) -> Iterator[None]:
    """Give ``job`` up if the block is interrupted."""
    try:
        yield
    except BaseException as error:
        if not isinstance(error, Exception):
            job.give_up()
        raise
