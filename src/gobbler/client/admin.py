"""Operations for administrators of a service: projects, deletions, repairs, and bulk validation."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Mapping, Sequence

from msgspec import Struct

from gobbler.client.address import registry_path
from gobbler.client.bulk.repair import BulkRepair
from gobbler.client.bulk.run import BulkProgress
from gobbler.client.bulk.validate import (
    BulkValidation,
    ValidationResult,
    last_validations,
    record_validation,
)
from gobbler.client.handle import html_of
from gobbler.client.permissions import NewPermissions, check_owned, new_permissions
from gobbler.client.project import Project
from gobbler.client.registry_reader import RegistryReader
from gobbler.client.relations import LinkChange
from gobbler.client.retry import RETRY_SECONDS
from gobbler.errors import quoted
from gobbler.model.names import AssetKey, VersionKey, check_name
from gobbler.model.requests import DeletionTarget
from gobbler.rules.bulk import Budget
from gobbler.rules.given_permissions import AnyUploader

NO_LIMIT = Budget()

logger = logging.getLogger(__name__)


class _Latest(Struct, frozen=True):
    version: str | None = None


class _Usage(Struct, frozen=True):
    total: int
    removing: int = 0


class _Rerouted(Struct, frozen=True):
    changes: list[LinkChange] | None = None
    problems: list[str] | None = None


class Admin:
    """Operations for administrators; for other users they raise :class:`errors.Forbidden`.

    The methods that end with ``_all`` work on every version of the registry, of a project or of an
    asset. Each returns an object; iterate over it to do the work. It has ``tasks`` (their names),
    ``left`` (how many of them remain) and ``resumed`` (when the run that it resumes began, if it
    resumes one). The user's state directory (``XDG_STATE_HOME``) records the results, so that the
    same call resumes after any interruption; ``restart`` starts over. Up to ``parallel`` requests
    run at a time. Requests without an answer are retried for ``retry_seconds`` seconds; then
    :class:`~gobbler.errors.Unreachable` is raised.
    """

    def __init__(self, reader: RegistryReader) -> None:
        self._reader = reader
        self._connection = reader.connection

    def __repr__(self) -> str:
        return f"<Admin of {self._connection}>"

    def _repr_html_(self) -> str:
        return html_of(self, "administration", self._connection)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Admin) and self._connection == other._connection

    def __hash__(self) -> int:
        return hash(self._connection)

    def create_project(
        self,
        project: str,
        *,
        owners: Sequence[str] | None = None,
        uploaders: Sequence[AnyUploader] | None = None,
        force: bool = False,
    ) -> Project:
        """Create a project, owned by the present user unless ``owners`` are given.

        ``force``: accept that nobody owns it, and names that no user can have.
        """
        given = new_permissions(owners, uploaders, force=force)
        if not force:
            check_owned(project, given)
        permissions = None if given == NewPermissions() else given
        self._connection.request("create_project", project=project, permissions=permissions)
        return Project(self._reader, project)

    def delete_project(self, project: str) -> None:
        """Delete a project with everything in it. If there is none, nothing happens."""
        self._connection.request("delete_project", project=project)

    def delete_asset(self, project: str, asset: str, *, force: bool = False) -> None:
        """Delete an asset with all its versions. If there is none, nothing happens.

        ``force``: also if its records can't be read.
        """
        self._connection.request("delete_asset", project=project, asset=asset, force=force)

    def delete_version(
        self, project: str, asset: str, version: str, *, force: bool = False
    ) -> None:
        """Delete a version. If there is none, nothing happens.

        Links of other versions to its files break, unless you reroute them before: see
        :meth:`reroute_links`. ``force``: also if its records can't be read.
        """
        key = {"project": project, "asset": asset, "version": version}
        self._connection.request("delete_version", **key, force=force)

    def reroute_links(
        self, to_delete: Sequence[DeletionTarget | Mapping[str, object]], *, dry_run: bool = False
    ) -> list[LinkChange]:
        """Reroute the links of all other versions around what you are going to delete.

        Where the target of a link is itself a link, the link then leads to the file behind it. If
        you are going to delete that file, too, a copy of it replaces the link. Returns the changes;
        with ``dry_run`` changes nothing. The log names manifests that the service could not read:
        by the files on disk, their versions have no such links.
        """
        answer = self._connection.request_as(
            _Rerouted, "reroute_links", to_delete=list(to_delete), dry_run=dry_run
        )
        for problem in answer.problems or ():
            logger.warning("skipped a version without such links: %s", problem)
        return answer.changes or []

    def refresh_latest(self, project: str, asset: str) -> str | None:
        """Recompute the latest version of an asset, and return its name, if there is one."""
        key = {"project": project, "asset": asset}
        return self._connection.request_as(_Latest, "refresh_latest", **key).version

    def refresh_usage(self, project: str) -> int:
        """Recompute how many bytes a project takes, and return them.

        Logs a warning if the service is still removing files of deleted versions, which do not
        count.
        """
        answer = self._connection.request_as(_Usage, "refresh_usage", project=project)
        if answer.removing:
            logger.warning(
                "the service is still removing %d bytes of deleted versions of %s from the disk",
                answer.removing,
                quoted(project),
            )
        return answer.total

    def reindex_version(self, project: str, asset: str, version: str) -> None:
        """Rebuild the manifest and the links of a version from its files."""
        key = {"project": project, "asset": asset, "version": version}
        self._connection.request("reindex_version", **key)

    def validate_version(self, project: str, asset: str, version: str) -> None:
        """Compare every byte of a version with its records; change nothing.

        Raises :class:`~gobbler.client.errors.RequestFailed` with the first problem as its text
        and all of them as ``problems``.
        """
        key = {"project": project, "asset": asset, "version": version}
        self._connection.request("validate_version", **key)

    def directories(self, path: str = ".") -> list[str]:
        """Names of the directories in ``path`` (``"."``: the registry), internal ones too."""
        where = path if path == "." else registry_path(path)
        return sorted(self._connection.source.listing(where).directories)

    def validate_all(
        self,
        project: str = "",
        asset: str = "",
        *,
        since: dt.datetime | None = None,
        budget: Budget = NO_LIMIT,
        parallel: int = 1,
        restart: bool = False,
        retry_seconds: float = RETRY_SECONDS,
        progress: BulkProgress | None = None,
    ) -> BulkValidation:
        """Validate all versions, or those of a project or an asset; yields each result.

        ::

            run = client.admin.validate_all(budget=Budget(seconds=7200))
            for result in run:
                if not result.is_valid:
                    print(result.address, result.problems)
            print(run.left, "versions remain")

        Starts with versions that were never validated, and continues with the oldest validation.
        Records each result at once, so that the same call resumes. A version that was published
        again under the same name counts as a new one. If a version can't be validated, that is its
        problem. Leaves out versions that are deleted meanwhile.

        Args:
            project: Only the versions in this project.
            asset: Only those in this asset of it.
            since: Only those not validated since that moment, which has an offset. Without it,
                resume an unfinished run over all versions, or start one.
            budget: When it is used up, no further version starts.
            parallel: How many versions are validated at a time.
            restart: Start a new run at once.
            retry_seconds: Seconds for which to retry requests without an answer.
            progress: Receives the progress; see :class:`gobbler.client.bulk.run.BulkProgress`.

        Raises:
            errors.Missing: There is no such project or asset.
            errors.Forbidden: The user is no administrator.
            errors.Unreachable: No service answered for that long.
            errors.Fault: The state directory can't be written.
        """
        return BulkValidation(
            self._connection,
            *_checked(project, asset),
            since=since,
            budget=budget,
            restart=restart,
            parallel=parallel,
            retry_seconds=retry_seconds,
            progress=progress,
        )

    def last_verified(
        self, project: str = "", asset: str = "", *, retry_seconds: float = RETRY_SECONDS
    ) -> dict[str, ValidationResult | None]:
        """The last result of :meth:`validate_all` for each version, by its address.

        ``None``: never validated. The versions come in the order in which they are due.
        """
        return last_validations(self._connection, *_checked(project, asset), retry_seconds)

    def record_validation(
        self, key: VersionKey, seconds: float, problems: tuple[str, ...], code: str = ""
    ) -> None:
        """Keep the result of validating one version, as :meth:`validate_all` does.

        ``seconds`` is the duration; ``code`` is that of the service's error.
        """
        record_validation(self._connection, key, seconds, problems, code)

    def refresh_all(
        self,
        project: str = "",
        asset: str = "",
        *,
        parallel: int = 1,
        restart: bool = False,
        retry_seconds: float = RETRY_SECONDS,
        progress: BulkProgress | None = None,
    ) -> BulkRepair:
        """Refresh the usage of all projects and the latest version of all assets.

        Or of one project and its assets, or of one asset; yields each result. A failure does not
        stop the rest. The parameters are those of :meth:`validate_all`.
        """
        return BulkRepair(
            self._connection,
            "refresh",
            *_checked(project, asset),
            restart=restart,
            parallel=parallel,
            retry_seconds=retry_seconds,
            progress=progress,
        )

    def reindex_all(
        self,
        project: str = "",
        asset: str = "",
        *,
        parallel: int = 1,
        restart: bool = False,
        retry_seconds: float = RETRY_SECONDS,
        progress: BulkProgress | None = None,
    ) -> BulkRepair:
        """Reindex all versions, or those of a project or an asset; yields each result.

        This records the present content as correct, so validate the versions first.
        The parameters are those of :meth:`validate_all`.
        """
        return BulkRepair(
            self._connection,
            "reindex",
            *_checked(project, asset),
            restart=restart,
            parallel=parallel,
            retry_seconds=retry_seconds,
            progress=progress,
        )


def _checked(project: str, asset: str) -> tuple[str, str]:
    if asset:
        AssetKey.checked(project, asset)
    elif project:
        check_name("project", project)
    return project, asset
