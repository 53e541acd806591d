"""Publishing, reviewing and permissions: the calls that users make on their projects."""

from __future__ import annotations

import os
from collections.abc import Sequence

from msgspec import UNSET

from gobbler.client import reading
from gobbler.client.errors import RequestRefused
from gobbler.client.jobs import Job
from gobbler.client.permissions import AnyUploader, NewPermissions, appended, new_permissions
from gobbler.client.progress import Progress, Silent
from gobbler.client.requesting import Requesting
from gobbler.client.site import StrPath
from gobbler.client.staging import Staged, allocate_upload_directory, stage, staged
from gobbler.errors import Refused
from gobbler.names import VersionKey


class Changes(Requesting):
    """What users may have the service do, each in the projects that are theirs."""

    def create_project(
        self,
        project: str,
        *,
        owners: Sequence[str] | None = None,
        uploaders: Sequence[AnyUploader] | None = None,
    ) -> None:
        """Make a project, owned by the present user unless ``owners`` are given."""
        given = new_permissions(owners, uploaders)
        permissions = None if given == NewPermissions() else given
        self.request("create_project", project=project, permissions=permissions)

    def set_permissions(
        self,
        project: str,
        asset: str | None = None,
        *,
        owners: Sequence[str] | None = None,
        uploaders: Sequence[AnyUploader] | None = None,
        global_write: bool | None = None,
        append: bool = True,
        spoof: str | None = None,
        dry_run: bool = False,
    ) -> NewPermissions:
        """Set who owns a project, or one of its assets, and who may upload to it.

        What is ``None`` stays as it is. With ``append``, ``owners`` and ``uploaders`` come
        after those that are stored (an owner who is one already does not come twice), else
        they replace them. ``spoof``: act for another user. Answers what the service was
        asked to store; with ``dry_run`` what it would be, and nothing is asked.

        To append, the present ones are read first: of two who append at the same moment,
        one may undo the other.
        """
        new = new_permissions(owners, uploaders, global_write)
        if append and (new.owners is not UNSET or new.uploaders is not UNSET):
            new = appended(reading.permissions(self._source, project, asset), new)
        if not dry_run:
            self.request(
                "set_permissions", project=project, asset=asset, permissions=new, spoof=spoof
            )
        return new

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
        """
        key = _checked(project, asset, version)
        with staged(
            os.fspath(directory),
            self.staging,
            ignore_dot=ignore_dot,
            concurrent=concurrent,
            progress=progress or Silent(),
        ) as source:
            fields = _upload(key, source, probation, consume, ignore_dot, spoof)
            if publishing is None:
                self.request("upload", **fields)
            else:
                self.follow(publishing, "upload", **fields)

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
            progress=progress or Silent(),
        )
        try:
            fields = _upload(key, source, probation, consume, ignore_dot, spoof)
            job = self.start("upload", **fields)
        except BaseException:
            source.remove()
            raise
        job.when_ended(source.remove)
        return job

    def approve_probation(
        self, project: str, asset: str, version: str, *, spoof: str | None = None
    ) -> None:
        """Make a version on probation final; the latest, too, if none finished after it.

        ``spoof``: act for another user.
        """
        self.request(
            "approve_probation", project=project, asset=asset, version=version, spoof=spoof
        )

    def reject_probation(
        self,
        project: str,
        asset: str,
        version: str,
        *,
        force: bool = False,
        spoof: str | None = None,
    ) -> None:
        """Remove a version on probation for good.

        ``force``: also when its records can't be read. ``spoof``: act for another user.
        """
        self.request(
            "reject_probation",
            project=project,
            asset=asset,
            version=version,
            force=force,
            spoof=spoof,
        )


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
