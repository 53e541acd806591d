"""The client: one service and its registry, from which everything else is reached."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from gobbler.client import errors, source
from gobbler.client.address import AT_LATEST, Address, parse_as
from gobbler.client.asset import Asset
from gobbler.client.config import expanded_path
from gobbler.client.connection import Connection, StrPath
from gobbler.client.handle import checked_name, html_of
from gobbler.client.notices import notify_of_umask
from gobbler.client.project import Project
from gobbler.client.registry_reader import RegistryReader
from gobbler.client.resolve import configured_cache, resolve
from gobbler.client.source import ServiceInfo
from gobbler.client.version import Version
from gobbler.errors import Code

if TYPE_CHECKING:
    from gobbler.client.admin import Admin
    from gobbler.client.groups import CacheDirectory, JobList
    from gobbler.client.jobs import Job
    from gobbler.client.upload import UploadPlan
    from gobbler.model.progress import Progress


class Client:
    """A service and its registry, as one user on one machine sees them.

    ::

        client = Client()  # the configured service; or Client("http://...")
        client.upload("weather/stations/1.4", "./results")
        version = client.version("weather/stations/1.4")
        with version.open("berlin.csv") as file: ...

    A new client opens no connection and sends no request, and you need not close it. Threads may
    share it. It can be pickled and copied, and it works in forked processes. Two clients are equal
    if they were made with the same arguments.

    Args:
        url: The address of the service.
        staging: Its staging directory as it is mounted here. Changes need it. If it is not given,
            the client asks the service.
        registry: Its registry as it is mounted here. If that is a directory on this machine, it
            is read directly. If it is not given, the client asks the service.
        cache: The directory for what is fetched over HTTP; by default the user's own, see
            :func:`~gobbler.client.user_directories.default_cache`.
        force_remote: Read over HTTP even if the registry is mounted.
        service: The name of a service in the configuration files.
        offline: Send no request: read only what the cache has, as it is. By default only if
            ``GOBBLER_OFFLINE`` is 1.

    Without ``url``, ``staging``, ``registry`` and ``service``, the service is the one that
    ``GOBBLER_URL`` (with ``GOBBLER_STAGING`` and ``GOBBLER_REGISTRY``) or ``GOBBLER_SERVICE``
    names, or else the default of the configuration files.

    Invalid names raise :class:`~gobbler.errors.Refused` before any request. Missing objects raise
    :class:`~gobbler.errors.Missing`; other errors are in :mod:`gobbler.client.errors`.
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
        notify_of_umask()
        self.connection = Connection(  # for tools: what is known of the service, and raw requests
            url,
            staging=staging,
            registry=registry,
            cache=cache,
            force_remote=force_remote,
            service=service,
            offline=offline,
        )
        self._reader = RegistryReader(self.connection)

    def __repr__(self) -> str:
        return f"<Client of {self.connection}>"

    def _repr_html_(self) -> str:
        return html_of(self, "gobbler", self.connection)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Client) and self.connection == other.connection

    def __hash__(self) -> int:
        return hash(self.connection)

    # The service.

    @property
    def url(self) -> str | None:
        """The address of the service, if it has one."""
        return self.connection.url

    @property
    def staging(self) -> str:
        """The staging directory of the service."""
        return self.connection.staging

    @property
    def registry(self) -> str:
        """The registry of the service, whether or not it is a directory on this machine."""
        return self.connection.registry

    def info(self) -> ServiceInfo:
        """The directories of the service; sends a request each time."""
        return self.connection.info()

    # The content of the registry.

    def projects(self) -> list[Project]:
        """All projects, by name."""
        return [Project(self._reader, name) for name in source.names(self.connection.source, ".")]

    def project(self, project: str) -> Project:
        """The project of that name, whether or not it exists."""
        return Project(self._reader, checked_name("project", project))

    def asset(self, project: str, asset: str | None = None) -> Asset:
        """The asset with these names, or with the address ``project/asset``."""
        if asset is None:
            place = parse_as(project, "asset")
            project, asset = place.project, place.asset
        return self.project(project).asset(asset)

    def version(self, project: str, asset: str | None = None, version: str = AT_LATEST) -> Version:
        """The version with these names, or with the address ``project/asset/version``.

        ``@latest`` stands for the latest version, also if ``version`` is left out. Raises
        :class:`~gobbler.errors.Missing` if there is no latest version. If a version that you name
        does not exist, the first method that reads it raises.
        """
        if asset is None:
            place = parse_as(project, "version")
            project, asset, version = place.project, place.asset, place.version
        return self.asset(project, asset).version(version)

    def fetch_file(
        self, path: str, *, overwrite: bool = False, progress: Progress | None = None
    ) -> str:
        """Return where the registry's file ``path`` can be read on this machine.

        The path is in the registry, which you must not change, or in the cache, where a file is
        complete or absent. With ``overwrite``, fetches a copy in the cache again.
        """
        return self._reader.fetch_file(path, overwrite=overwrite, progress=progress)

    def fetch_directory(
        self,
        path: str,
        *,
        overwrite: bool = False,
        concurrent: int = 4,
        progress: Progress | None = None,
    ) -> str:
        """Return where the registry's directory ``path`` can be read on this machine.

        Like :meth:`fetch_file`: a copy in the cache is complete, with its empty directories, or
        absent. ``concurrent`` files are fetched at a time.
        """
        return self._reader.fetch_directory(
            path, overwrite=overwrite, concurrent=concurrent, progress=progress
        )

    # Publishing.

    def upload(
        self,
        project: str | Asset | Version,
        asset: StrPath | None = None,
        version: StrPath | None = None,
        directory: StrPath | None = None,
        *,
        probation: bool = False,
        consume: bool | None = None,
        ignore_dot: bool = False,
        follow_links: bool = False,
        spoof: str | None = None,
        concurrent: int = 4,
        progress: Progress | None = None,
        publishing: Progress | None = None,
    ) -> Version:
        """Publish a directory as a new version, whole or not at all, and return the version.

        ::

            client.upload("weather/stations/1.4", "./results")
            client.upload(client.asset("weather/stations"), "1.4", "./results")
            client.upload("weather", "stations", "1.4", "./results")

        A directory outside staging is first copied there; the copy is removed afterwards, also
        after a failure. The copied files are compared, by size and MD5, with what the service
        recorded.

        What the service would refuse is refused before anything is copied, as far as it can be
        known: the project is missing, the version exists, or the user may not upload it. The
        warnings :class:`~gobbler.client.notices.LeftOut` and
        :class:`~gobbler.client.notices.NothingNew` tell which names are left out, and that the
        version takes no file, or has the same files as the latest one.

        Args:
            project: The new version: its address, a :class:`Version`, an :class:`Asset` followed
                by the version's name, or three names.
            asset: See above.
            version: See above.
            directory: The directory to publish, always the last of these arguments.
            probation: The version needs approval before it is final.
            consume: Whether the service may move the files out of the directory. By default only
                if the directory is a copy that was made for this upload.
            ignore_dot: Leave out names that start with a dot, and warn of them.
            follow_links: Publish what symbolic links lead to in their place, if that is out of the
                directory, or a directory; links to files of the registry stay links. Then the
                directory is copied, also if it is in staging.
            spoof: Act for this user, where the service allows it.
            concurrent: How many files are copied at a time.
            progress: Receives the progress of the copy.
            publishing: Receives the progress of the service, which then works on the upload as a
                job.

        Raises:
            errors.RequestRefused: The service, or the check before any copying, refuses it.
            errors.Fault: The version is published, but differs from the files that were sent.
        """
        from gobbler.client.upload import UploadOptions, upload

        target, directory = self._target(project, asset, version, directory)
        options = UploadOptions(probation, consume, ignore_dot, spoof, concurrent, follow_links)
        upload(
            self._reader,
            target.key,
            directory,
            options,
            progress=progress,
            publishing=publishing,
        )
        return target

    def submit(
        self,
        project: str | Asset | Version,
        asset: StrPath | None = None,
        version: StrPath | None = None,
        directory: StrPath | None = None,
        *,
        probation: bool = False,
        consume: bool | None = None,
        ignore_dot: bool = False,
        follow_links: bool = False,
        spoof: str | None = None,
        concurrent: int = 4,
        progress: Progress | None = None,
    ) -> Job:
        """Request an upload, like :meth:`upload`, but return as soon as the service has it.

        The job continues when this process ends. A copy in staging is removed once you see that
        the job has ended, or by a later upload.
        """
        from gobbler.client.upload import UploadOptions, start_upload

        target, directory = self._target(project, asset, version, directory)
        options = UploadOptions(probation, consume, ignore_dot, spoof, concurrent, follow_links)
        return start_upload(self.connection, target.key, directory, options, progress=progress)

    def plan_upload(
        self,
        project: str | Asset | Version,
        asset: StrPath | None = None,
        version: StrPath | None = None,
        directory: StrPath | None = None,
        *,
        ignore_dot: bool = False,
        follow_links: bool = False,
    ) -> UploadPlan:
        """Plan an :meth:`upload`: what it would store and link. Changes nothing, and sends no
        request.

        Raises :class:`~gobbler.errors.Refused` or :class:`~gobbler.errors.Missing` for what
        the upload would refuse. Does not check whether the user may upload.
        """
        from gobbler.client.upload import UploadOptions, plan_upload

        target, directory = self._target(project, asset, version, directory)
        options = UploadOptions(ignore_dot=ignore_dot, follow_links=follow_links)
        return plan_upload(self._reader, target.key, directory, options)

    def allocate_upload_directory(self, *, create: bool = True) -> str:
        """Return the path of a new directory in staging; fill it, then upload it.

        With ``create=False`` only a free path is returned.
        """
        from gobbler.client.staging import allocate_upload_directory

        return allocate_upload_directory(self.connection.staging_directory, create=create)

    def _target(self, *given: object) -> tuple[Version, StrPath]:
        """The version to be made, and the directory, from the arguments of :meth:`upload`."""
        *names, directory = [value for value in given if value is not None] or [None]
        asset: Asset | None = None
        match names:
            case [Version() as version]:
                asset, name = version.asset, version.name
            case [Asset() as given_asset, str(name)]:
                asset = given_asset
            case [str(address)]:
                place = parse_as(address, "version")
                asset, name = self.asset(place.project, place.asset), place.version
            case [str(project), str(inner), str(name)]:
                asset = self.asset(project, inner)
        if asset is None or not isinstance(directory, str | os.PathLike):
            raise TypeError(
                "an upload takes the address of the new version, an Asset and a name, or three "
                "names; and then the directory"
            )
        if name == AT_LATEST:
            raise errors.RequestRefused(
                f"{AT_LATEST} stands for a version that exists already",
                code=Code.INVALID_ADDRESS,
                hint="Name the new version.",
            )
        return asset.version(name), directory

    # Everything else, in groups.

    @property
    def jobs(self) -> JobList:
        """The user's jobs: requests that run in the background."""
        from gobbler.client.groups import JobList

        return JobList(self.connection)

    @property
    def cache(self) -> CacheDirectory:
        """Files that were fetched over HTTP: list, verify and prune them."""
        from gobbler.client.groups import CacheDirectory

        return CacheDirectory(self.connection)

    @property
    def admin(self) -> Admin:
        """For administrators: create and delete, refresh and reindex, validate everything."""
        from gobbler.client.admin import Admin

        return Admin(self._reader)


def find_client(
    given: Mapping[str, str | None],
    *,
    service: str | None = None,
    cache: str | None = None,
    force_remote: bool = False,
    offline: bool | None = None,
) -> Client:
    """The client of the service that is meant.

    ``given`` are ``url``, ``staging`` and ``registry``; they and the name of the ``service`` come
    before the environment and the configuration files. ``None`` and ``""`` mean "not given".
    """
    stated = {name: value for name, value in given.items() if value}
    resolved = resolve(stated, service or None)
    configured = configured_cache()
    cache = expanded_path("--cache", cache, os.environ) if cache else None
    return Client(
        # With nothing given, the client finds the default by itself, and knows that it is one.
        None if resolved.is_default else resolved.get("url"),
        staging=resolved.get("staging"),
        registry=resolved.get("registry"),
        cache=cache or (configured.value if configured else None),
        force_remote=force_remote,
        offline=offline,
    )


def resolve_latest(client: Client, address: Address) -> Address:
    """``address`` with the name of the latest version instead of ``@latest``.

    Raises :class:`~gobbler.errors.Missing` if there is no latest version.
    """
    if address.version != AT_LATEST:
        return address
    return replace(address, version=client.version(address.project, address.asset).name)
