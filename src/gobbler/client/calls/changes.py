"""Reviewing and permissions: the calls that users make on their projects."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import UNSET

from gobbler.client import source
from gobbler.client.calls.permissions import AnyUploader, NewPermissions, appended, new_permissions
from gobbler.client.calls.requesting import Requesting


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
            new = appended(source.permissions(self._source, project, asset), new)
        if not dry_run:
            self.request(
                "set_permissions", project=project, asset=asset, permissions=new, spoof=spoof
            )
        return new

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
