"""Publishing: a directory of this machine becomes a version."""

from __future__ import annotations

import os

from gobbler.client.calls.reads import Reads
from gobbler.client.calls.requesting import Requesting
from gobbler.client.calls.site import StrPath
from gobbler.client.checksums import Checksums
from gobbler.client.errors import RequestRefused
from gobbler.client.jobs import Job
from gobbler.client.staging import Staged, allocate_upload_directory, stage, staged
from gobbler.client.upload_plan import UploadPlan, plan_upload
from gobbler.errors import Fault, GobblerError, Missing, Refused, quoted
from gobbler.model.names import VersionKey
from gobbler.model.progress import NoProgress, Progress
from gobbler.rules.upload_plan import PublishedVersion


class Uploads(Requesting, Reads):
    """What brings data into a registry."""

    def allocate_upload_directory(self, *, create: bool = True) -> str:
        """The path of a fresh directory in staging, to be filled and uploaded."""
        return allocate_upload_directory(self.staging, create=create)

    def upload(
        self,
        project: str,
        asset: str,
        version: str,
        directory: StrPath,
        *,
        probation: bool = False,
        consume: bool | None = None,
        ignore_dot: bool = True,
        spoof: str | None = None,
        concurrent: int = 1,
        progress: Progress | None = None,
        publishing: Progress | None = None,
    ) -> None:
        """Publish ``directory`` as a new version, whole or not at all.

        A directory that does not stand in staging is first copied there, ``concurrent``
        files at a time; the copy is removed afterwards, also after a failure. With
        ``consume`` the service may move the files out of it, which by default only such a
        copy allows. ``probation``: the version needs approval. ``ignore_dot``: leave out
        names that start with a dot. ``spoof``: act for another user.

        ``progress`` is told of the copy; with ``publishing`` the service works on it as a
        job, and that is told how far it is.

        What was copied is compared, by size and MD5, with what the service has recorded:
        :class:`~gobbler.errors.Fault` if that differs; the version is published then.
        """
        key = _checked(project, asset, version)
        with (
            Checksums(concurrent) as checksums,
            staged(
                os.fspath(directory),
                self.staging,
                ignore_dot=ignore_dot,
                concurrent=concurrent,
                progress=progress or NoProgress(),
                checksums=checksums if self.can_read else None,
            ) as source,
        ):
            fields = _upload(key, source, probation, consume, ignore_dot, spoof)
            if publishing is None:
                self.request("upload", **fields)
            else:
                self.follow(publishing, "upload", **fields)
            self._compare(key, checksums)

    def _compare(self, key: VersionKey, checksums: Checksums) -> None:
        try:
            expected = checksums.result()
            if not expected:
                return
            manifest = self.manifest(key.project, key.asset, key.version, overwrite=True)
        except (GobblerError, OSError) as error:
            reason = error.reason if isinstance(error, GobblerError) else error.strerror
            raise Fault(
                f"version {quoted(key.path)} is published, but can't be compared with what "
                f"was sent: {reason}",
                hint="Ask for it to be validated.",
            ) from error
        for path, sent in expected.items():
            entry = manifest.get(path)
            if entry is None or (entry.size, entry.md5sum) != sent:
                raise Fault(
                    f"version {quoted(key.path)} is published, but its {quoted(path)} is not "
                    "what was sent",
                    hint="Ask an administrator to validate it, and to look at the disks.",
                )

    def plan_upload(
        self,
        project: str,
        asset: str,
        version: str,
        directory: StrPath,
        *,
        ignore_dot: bool = True,
    ) -> UploadPlan:
        """What an upload would store, link and leave to the service; nothing is changed.

        Raises :class:`~gobbler.errors.Refused` or :class:`~gobbler.errors.Missing` for what
        would be refused. Whether the user may upload is not looked at.
        """
        key = _checked(project, asset, version)
        if project not in self.projects():
            raise Missing(f"project {quoted(project)} does not exist")
        exists = asset in self.assets(project)
        if exists and version in self.versions(project, asset):
            raise RequestRefused(f"version {quoted(key.path)} already exists")
        name = self.latest(project, asset) if exists else None
        latest = None
        if name is not None:
            latest = key.of_asset.version(name), self.manifest(project, asset, name)
        top = os.path.abspath(directory)
        return plan_upload(top, key, self.registry, latest, self._published, ignore_dot=ignore_dot)

    def _published(self, key: VersionKey) -> PublishedVersion | None:
        try:
            summary = self.summary(key.project, key.asset, key.version)
            return PublishedVersion(
                self.manifest(key.project, key.asset, key.version), summary.on_probation
            )
        except Missing:
            return None

    def submit(
        self,
        project: str,
        asset: str,
        version: str,
        directory: StrPath,
        *,
        probation: bool = False,
        consume: bool | None = None,
        ignore_dot: bool = True,
        spoof: str | None = None,
        concurrent: int = 1,
        progress: Progress | None = None,
    ) -> Job:
        """Like :meth:`upload`, but return as soon as the service has the request.

        The job goes on when this process ends. What is left of a copy in staging goes once
        the job is seen to have ended, else with the service's tidying after seven days.
        """
        key = _checked(project, asset, version)
        source = stage(
            os.fspath(directory),
            self.staging,
            ignore_dot=ignore_dot,
            concurrent=concurrent,
            progress=progress or NoProgress(),
        )
        try:
            fields = _upload(key, source, probation, consume, ignore_dot, spoof)
            job = self.start("upload", **fields)
        except BaseException:
            source.remove()
            raise
        job.when_ended(source.remove)
        return job


def _checked(project: str, asset: str, version: str) -> VersionKey:
    """The key, or what the service would answer, said before everything is copied."""
    try:
        return VersionKey.checked(project, asset, version)
    except Refused as error:
        raise RequestRefused(error.reason, hint=error.hint) from None


def _upload(
    key: VersionKey,
    source: Staged,
    probation: bool,
    consume: bool | None,
    ignore_dot: bool,
    spoof: str | None,
) -> dict[str, object]:
    """The fields of a request to upload ``source``."""
    return {
        "project": key.project,
        "asset": key.asset,
        "version": key.version,
        "source": source.name,
        "on_probation": probation,
        "consume": source.is_copy if consume is None else consume,
        "ignore_dot": ignore_dot,
        "spoof": spoof,
    }
