"""Changing a registry: the calls of a client that the service carries out."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from gobbler.client.errors import RequestRefused
from gobbler.client.progress import Progress, Silent
from gobbler.client.site import Site, StrPath
from gobbler.client.staging import allocate_upload_directory, staged
from gobbler.client.submit import submit
from gobbler.errors import Refused
from gobbler.names import VersionKey
from gobbler.records import Uploader


class Changes(Site):
    """What a user may have the service do."""

    def request(self, action: str, **fields: object) -> dict[str, object]:
        """Have the service carry out ``action``; answer what it answers.

        The fields are those in docs/http.md; what is ``None`` is left out.
        """
        return submit(self._http, self.staging, action, fields)

    def create_project(
        self,
        project: str,
        *,
        owners: Sequence[str] | None = None,
        uploaders: Sequence[Uploader | Mapping[str, object]] | None = None,
    ) -> None:
        """Make a project, owned by the present user unless ``owners`` are given."""
        permissions = {
            key: list(value)
            for key, value in (("owners", owners), ("uploaders", uploaders))
            if value is not None
        }
        self.request("create_project", project=project, permissions=permissions or None)

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
    ) -> None:
        """Publish ``directory`` as a new version, whole or not at all.

        A directory that does not stand in staging is first copied there, ``concurrent``
        files at a time; the copy is removed afterwards, also after a failure. With
        ``consume`` the service may move the files out of it, which by default only such a
        copy allows. ``probation``: the version needs approval. ``ignore_dot``: leave out
        names that start with a dot. ``spoof``: act for another user.
        """
        key = _checked(project, asset, version)
        with staged(
            os.fspath(directory),
            self.staging,
            ignore_dot=ignore_dot,
            concurrent=concurrent,
            progress=progress or Silent(),
        ) as source:
            self.request(
                "upload",
                project=key.project,
                asset=key.asset,
                version=key.version,
                source=source.name,
                on_probation=probation,
                consume=source.is_copy if consume is None else consume,
                ignore_dot=ignore_dot,
                spoof=spoof,
            )


def _checked(project: str, asset: str, version: str) -> VersionKey:
    """The key, or what the service would answer, said before everything is copied."""
    try:
        return VersionKey.checked(project, asset, version)
    except Refused as error:
        raise RequestRefused(error.reason, hint=error.hint) from None
