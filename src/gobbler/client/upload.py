"""Publishing a directory as a version, and planning that without changing anything."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass

from msgspec import Struct, structs

from gobbler.client import source, staged_copies
from gobbler.client.checksums import Checksums
from gobbler.client.connection import Connection, StrPath
from gobbler.client.jobs import Job
from gobbler.client.notices import NothingNew, StepFailed, notify
from gobbler.client.preflight import Preflight, Taken, check_version, tell_what_is_taken
from gobbler.client.registry_reader import RegistryReader
from gobbler.client.source_links import Follower, follow_links, real_around
from gobbler.client.staged_file import unreadable
from gobbler.client.staging import (
    Staged,
    check_source,
    is_in_staging,
    scan_for_upload,
    stage,
    staged,
)
from gobbler.errors import Code, Fault, Forbidden, GobblerError, Missing, quoted
from gobbler.fs.hash import hash_file
from gobbler.fs.space import capacity
from gobbler.model.names import VersionKey
from gobbler.model.progress import NoProgress, Progress
from gobbler.model.records import Manifest
from gobbler.rules.dedup import VersionCandidates
from gobbler.rules.links import OUTSIDE, Places
from gobbler.rules.manifest import difference
from gobbler.rules.upload_plan import (
    Plan,
    PublishedVersion,
    Scan,
    check_scan,
    linked_versions,
    locate_links,
    make_plan,
)
from gobbler.transfer.scan import LONGEST_PATH, longest_published


@dataclass(frozen=True)
class UploadOptions:
    """The options of an upload; see :meth:`Client.upload`."""

    probation: bool = False
    consume: bool | None = None
    ignore_dot: bool = False
    spoof: str | None = None
    concurrent: int = 4
    follow_links: bool = False

    def follower(self, connection: Connection) -> Follower | None:
        """Follows links, if that is asked for."""
        if not self.follow_links:
            return None
        return functools.partial(
            follow_links, ignore_dot=self.ignore_dot, registry=_registry_paths(connection)
        )

    def fields(self, key: VersionKey, source: Staged) -> dict[str, object]:
        """The fields of a request to upload ``source`` as version ``key``."""
        return {
            "project": key.project,
            "asset": key.asset,
            "version": key.version,
            "source": source.name,
            "on_probation": self.probation,
            "consume": source.is_copy if self.consume is None else self.consume,
            "ignore_dot": self.ignore_dot,
            "spoof": self.spoof,
        }


def upload(
    reader: RegistryReader,
    key: VersionKey,
    directory: StrPath,
    options: UploadOptions,
    *,
    progress: Progress | None,
    publishing: Progress | None,
) -> None:
    """Publish ``directory`` as version ``key``; see :meth:`Client.upload`."""
    connection = reader.connection
    directory = os.path.abspath(directory)
    before = _latest_name(reader, key)
    staged_copies.remove_unneeded(staged_copies.has_ended_at(connection.url))
    with (
        Checksums(options.concurrent) as checksums,
        staged(
            directory,
            connection.staging_directory,
            ignore_dot=options.ignore_dot,
            follow=options.follower(connection),
            preflight=Preflight(connection, key, options.spoof, is_awaited=True),
            longest=_longest(connection, key),
            capacity=_capacity(connection),
            concurrent=options.concurrent,
            progress=progress or NoProgress(),
            checksums=checksums if connection.can_read else None,
        ) as prepared,
    ):
        fields = options.fields(key, prepared)
        _requested(prepared)
        checksums.begin()
        if publishing is None:
            connection.request("upload", **fields)
        else:
            connection.follow(publishing, "upload", **fields)
        reader.forget(key)
        if connection.can_read:
            _compare(reader, key, checksums, before)


def _latest_name(reader: RegistryReader, key: VersionKey) -> str | None:
    """The latest version before the upload, if there is one and it can be read."""
    if not reader.connection.can_read:
        return None
    try:
        return source.latest(reader.connection.source, key.of_asset)
    except (GobblerError, OSError):
        return None  # needed only for a notice


def _compare(
    reader: RegistryReader, key: VersionKey, checksums: Checksums, before: str | None
) -> None:
    """Compare what the service recorded with what was copied, and with the version ``before``.

    The version is published: a comparison that fails is a warning.
    """
    try:
        expected = checksums.result()
        manifest = reader.manifest(key, overwrite=True)
        if before is not None:
            _tell_if_unchanged(reader, key, manifest, key.of_asset.version(before))
    except (GobblerError, OSError) as error:
        reason = error.reason if isinstance(error, GobblerError) else error.strerror
        notify(
            f"version {quoted(key.path)} is published, but it could not be compared with the "
            f"directory: {reason}",
            StepFailed,
        )
        return
    for path, sent in expected.items():
        entry = manifest.get(path)
        if entry is None or (entry.size, entry.md5sum) != sent:
            raise Fault(
                f"version {quoted(key.path)} is published, but its {quoted(path)} is not the "
                "file that was sent",
                code=Code.CONTENT_MISMATCH,
                hint="Ask an administrator to validate it, and to examine the disks.",
            )


def _tell_if_unchanged(
    reader: RegistryReader, key: VersionKey, manifest: Manifest, before: VersionKey
) -> None:
    """Warn if version ``before``, the latest so far, has the same files."""
    if any(
        not entry.is_directory and entry.size and entry.link is None for entry in manifest.values()
    ):
        return  # a file is new: the service links the others
    if all(entry.is_directory for entry in manifest.values()):
        return  # it takes nothing, which has been told
    if difference(reader.manifest(before), manifest):
        return
    notify(
        f"version {quoted(key.path)} changes nothing: it has the same files as version "
        f"{quoted(before.version)}",
        NothingNew,
    )


def start_upload(
    connection: Connection,
    key: VersionKey,
    directory: StrPath,
    options: UploadOptions,
    *,
    progress: Progress | None,
) -> Job:
    """Request the publication of ``directory``, and return its job; see :meth:`Client.submit`."""
    directory = os.path.abspath(directory)
    staged_copies.remove_unneeded(staged_copies.has_ended_at(connection.url))
    prepared = stage(
        directory,
        connection.staging_directory,
        ignore_dot=options.ignore_dot,
        follow=options.follower(connection),
        preflight=Preflight(connection, key, options.spoof, is_awaited=False),
        longest=_longest(connection, key),
        capacity=_capacity(connection),
        concurrent=options.concurrent,
        progress=progress or NoProgress(),
    )
    try:
        _requested(prepared)
        job = connection.start("upload", **options.fields(key, prepared))
        _requested(prepared, job.name, connection.url)
    except BaseException:
        prepared.remove()
        raise
    job.when_ended(prepared.remove)
    return job


def _requested(source: Staged, job: str | None = None, url: str | None = None) -> None:
    """Write down what uses a copy from now on, so that a later run knows when it is unneeded."""
    if source.copy is not None:
        copy = staged_copies.new_copy(os.path.abspath(source.copy))
        staged_copies.remember(structs.replace(copy, requested=True, job=job or None, url=url))


class UploadPlan(Struct, frozen=True):
    """The plan of an upload: the action for each file, by its path in the new version.

    ``stored``: sizes in bytes of the files that would be stored. ``linked``: the file of the
    registry, or of the new version, that a link would lead to. ``undecided``: symbolic links, with
    their targets, that are refused unless the target is in a directory that the service has
    whitelisted. ``empty``: empty directories.
    """

    stored: dict[str, int]
    linked: dict[str, str]
    undecided: dict[str, str]
    empty: list[str]

    @property
    def bytes(self) -> int:
        """Bytes that would be stored."""
        return sum(self.stored.values())


def plan_upload(
    reader: RegistryReader, key: VersionKey, directory: StrPath, options: UploadOptions
) -> UploadPlan:
    """Plan an upload of ``directory``; see :meth:`Client.plan_upload`.

    Runs the scan and the rules of the service. The upload itself decides what only the service
    knows: which directories are whitelisted, where it searches for duplicates besides the latest
    version, and what changes until then.
    """
    check_version(reader.connection, key)
    top = os.path.abspath(directory)
    scan = _scan(reader.connection, key, top, options)
    real = os.path.realpath(top)
    places = Places(source=(real, top), registry=_registry_paths(reader.connection), whitelist=())
    targets = locate_links(scan, real, places, real_around(real))
    undecided = {path: scan.symlinks[path] for path, to in targets.items() if to is OUTSIDE}
    decided = {path: to for path, to in targets.items() if to is not OUTSIDE}
    versions = {linked: _published(reader, linked) for linked in linked_versions(decided)}
    plan = make_plan(key, scan, decided, versions)
    return _describe(top, scan, plan, key, _candidates(reader, key), undecided)


def _registry_paths(connection: Connection) -> tuple[str, str]:
    """The paths by which links name the registry."""
    registry = _service_path(connection, "registry") or connection.registry
    return registry, os.path.realpath(registry)


def _longest(connection: Connection, key: VersionKey) -> int:
    """The length in bytes of the longest path that the new version may have."""
    registry = _registry(connection)
    return LONGEST_PATH if registry is None else longest_published(registry, key.path)


def _capacity(connection: Connection) -> int | None:
    """Bytes of the filesystem of the registry, if it is on this host."""
    registry = _registry(connection)
    return None if registry is None else capacity(registry)


def _registry(connection: Connection) -> str | None:
    try:
        return _service_path(connection, "registry")
    except GobblerError:
        return None  # the service itself refuses what does not fit there


def _scan(connection: Connection, key: VersionKey, top: str, options: UploadOptions) -> Scan:
    """Scan the directory ``top``; raises what the upload would raise before it asks the service."""
    staging = _service_path(connection, "staging")
    check_source(top, staging)
    follow = options.follower(connection)
    in_place = staging is not None and is_in_staging(top, staging) and follow is None
    if in_place and os.stat(top).st_uid != os.geteuid():
        raise Forbidden(
            f"the directory {quoted(top)} in staging belongs to another user",
            code=Code.FOREIGN_SOURCE,
            hint="Upload a directory of your own.",
        )
    scan = scan_for_upload(
        top,
        staging,
        ignore_dot=options.ignore_dot,
        follow=follow,
        longest=_longest(connection, key),
    )
    check_scan(scan, capacity=_capacity(connection))
    tell_what_is_taken(top, Taken.of_scan(scan))
    if not in_place:
        for path in scan.files:
            place = scan.elsewhere.get(path) or f"{top}/{path}"
            if not os.access(place, os.R_OK):
                raise unreadable(place)
    return scan


def _service_path(connection: Connection, what: str) -> str | None:
    """The staging directory or the registry as the service names it; ``None``: it has no address.

    The path may differ from that on this machine, and links use the path of the service.
    """
    if connection.url:
        return str(getattr(connection.reported(), what))
    return connection.resolved.get(what)


def _published(reader: RegistryReader, key: VersionKey) -> PublishedVersion | None:
    try:
        on_probation = reader.summary(key).on_probation
        return PublishedVersion(reader.manifest(key), on_probation)
    except Missing:
        return None


def _candidates(reader: RegistryReader, key: VersionKey) -> VersionCandidates | None:
    """The files of the asset's latest version, which new files may equal."""
    name = source.latest(reader.connection.source, key.of_asset)
    if name is None:
        return None
    latest = key.of_asset.version(name)
    return VersionCandidates.of(latest, reader.manifest(latest))


def _describe(
    top: str,
    scan: Scan,
    plan: Plan,
    key: VersionKey,
    candidates: VersionCandidates | None,
    undecided: dict[str, str],
) -> UploadPlan:
    stored: dict[str, int] = {}
    linked = {
        path: f"{entry.link.key.path}/{entry.link.path}"
        for path, entry in plan.known.items()
        if entry.link is not None
    }
    for path, size in plan.copies.items():
        same_size = {} if candidates is None else candidates.of_size(size)
        same = (
            same_size.get(_md5(scan.elsewhere.get(path) or f"{top}/{path}")) if same_size else None
        )
        if same is None or candidates is None:
            stored[path] = size
        else:
            linked[path] = f"{candidates.key.path}/{same}"
    for path, target in plan.local:
        linked[path] = f"{key.path}/{target}"
    empty = [path for path, entry in plan.known.items() if entry.is_directory]
    return UploadPlan(
        dict(sorted(stored.items())), dict(sorted(linked.items())), undecided, sorted(empty)
    )


def _md5(path: str) -> str:
    with open(path, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        return hash_file(file.fileno(), NoProgress(), size)[1]
