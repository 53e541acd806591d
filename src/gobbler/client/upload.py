"""Publishing: a directory of this machine becomes a version."""

from __future__ import annotations

import os
from dataclasses import dataclass

from gobbler.client import source
from gobbler.client.checksums import Checksums
from gobbler.client.connection import Connection, StrPath
from gobbler.client.errors import RequestRefused
from gobbler.client.jobs import Job
from gobbler.client.registry_reader import RegistryReader
from gobbler.client.staging import Staged, stage, staged
from gobbler.client.upload_plan import UploadPlan, plan_upload
from gobbler.errors import Code, Fault, GobblerError, Missing, quoted
from gobbler.model.names import VersionKey
from gobbler.model.progress import NoProgress, Progress
from gobbler.rules.upload_plan import PublishedVersion


@dataclass(frozen=True)
class UploadOptions:
    """The options of an upload; see :meth:`Client.upload`."""

    probation: bool = False
    consume: bool | None = None
    ignore_dot: bool = True
    spoof: str | None = None
    concurrent: int = 4

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
    with (
        Checksums(options.concurrent) as checksums,
        staged(
            os.fspath(directory),
            connection.staging,
            ignore_dot=options.ignore_dot,
            concurrent=options.concurrent,
            progress=progress or NoProgress(),
            checksums=checksums if connection.can_read else None,
        ) as source,
    ):
        fields = options.fields(key, source)
        if publishing is None:
            connection.request("upload", **fields)
        else:
            connection.follow(publishing, "upload", **fields)
        reader.forget(key)
        _compare(reader, key, checksums)


def _compare(reader: RegistryReader, key: VersionKey, checksums: Checksums) -> None:
    """Compare what was copied with what the service recorded."""
    try:
        expected = checksums.result()
        if not expected:
            return
        manifest = reader.manifest(key, overwrite=True)
    except (GobblerError, OSError) as error:
        reason = error.reason if isinstance(error, GobblerError) else error.strerror
        raise Fault(
            f"version {quoted(key.path)} is published, but it could not be compared with the "
            f"directory: {reason}",
            code=error.code if isinstance(error, GobblerError) else Code.IO_ERROR,
            hint="Ask an administrator to validate it.",
        ) from error
    for path, sent in expected.items():
        entry = manifest.get(path)
        if entry is None or (entry.size, entry.md5sum) != sent:
            raise Fault(
                f"version {quoted(key.path)} is published, but its {quoted(path)} is not the "
                "file that was sent",
                code=Code.CONTENT_MISMATCH,
                hint="Ask an administrator to validate it, and to examine the disks.",
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
    source = stage(
        os.fspath(directory),
        connection.staging,
        ignore_dot=options.ignore_dot,
        concurrent=options.concurrent,
        progress=progress or NoProgress(),
    )
    try:
        job = connection.start("upload", **options.fields(key, source))
    except BaseException:
        source.remove()
        raise
    job.when_ended(source.remove)
    return job


def plan(
    reader: RegistryReader, key: VersionKey, directory: StrPath, *, ignore_dot: bool
) -> UploadPlan:
    """What an upload of ``directory`` would do; see :meth:`Client.plan_upload`."""
    registry = reader.connection.source
    if key.project not in source.names(registry, "."):
        raise Missing(f"project {quoted(key.project)} does not exist", code=Code.PROJECT_NOT_FOUND)
    asset = key.of_asset
    exists = asset.asset in source.names(registry, key.project)
    if exists and key.version in source.names(registry, asset.path):
        raise RequestRefused(f"version {quoted(key.path)} already exists", code=Code.VERSION_EXISTS)
    name = source.latest(registry, asset) if exists else None
    latest = None
    if name is not None:
        latest = asset.version(name), reader.manifest(asset.version(name))

    def published(linked: VersionKey) -> PublishedVersion | None:
        try:
            on_probation = reader.summary(linked).on_probation
            return PublishedVersion(reader.manifest(linked), on_probation)
        except Missing:
            return None

    top = os.path.abspath(directory)
    return plan_upload(
        top, key, reader.connection.registry, latest, published, ignore_dot=ignore_dot
    )
