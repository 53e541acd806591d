"""The calls that go over a whole registry, a project or an asset."""

from __future__ import annotations

import datetime as dt

from gobbler.client.bulk.repair import BulkRepair
from gobbler.client.bulk.run import BulkProgress
from gobbler.client.bulk.validate import BulkValidation, ValidationResult, last_validations
from gobbler.client.calls.administration import Administration
from gobbler.client.calls.reads import Reads
from gobbler.client.retry import RETRY_SECONDS
from gobbler.client.source import Source
from gobbler.model.names import check_name
from gobbler.rules.bulk import Budget

ANY = Budget()


class Sweeps(Administration, Reads):
    """What administrators have done with all versions, and go on with where it stopped.

    All of these answer an object to be iterated over, which does it; nothing happens before.
    It has ``tasks``, what there is to do; ``resumed``, when the sweep was begun that it goes on
    with, if it does; ``left``, how much is not done yet. What is done is kept in the user's
    state directory (``XDG_STATE_HOME``), for the service and the registry that it tells of.

    Up to ``parallel`` requests are made at a time. Where no service answers they are repeated
    for ``retry_seconds`` seconds; then :class:`~gobbler.errors.Unreachable` is raised, and the same
    call goes on with the rest. ``restart`` begins anew instead of going on.
    """

    @property
    def source(self) -> Source:
        """The way to read the registry, without the cache."""
        return self._source

    def validate_all(
        self,
        project: str = "",
        asset: str = "",
        *,
        since: dt.datetime | None = None,
        budget: Budget = ANY,
        parallel: int = 1,
        restart: bool = False,
        retry_seconds: float = RETRY_SECONDS,
        progress: BulkProgress | None = None,
    ) -> BulkValidation:
        """Verify all versions, or those of a project or an asset; yields what came of each.

        ::

            scrub = client.validate_all(budget=Budget(seconds=7200))
            for result in scrub:
                if not result.is_valid:
                    print(result.address, result.problems)
            print(scrub.left, "versions remain")

        Those that never were verified come first, then the one verified the longest ago. What
        came of each is kept at once, in the user's state directory, so that the same call goes
        on where it was stopped, whatever stopped it. A version that was published anew under
        the same name is another one. What can't be verified is a problem of its version; one
        that is deleted meanwhile is left out.

        Args:
            project: Only the versions in this project.
            asset: Only those in this asset of it.
            since: Only those not verified since that moment, which has an offset. Without it
                a pass over all is gone on with, or another one begun.
            budget: When it is used up, nothing more is begun.
            parallel: How many versions are verified at a time.
            restart: Begin another pass at once.
            retry_seconds: Seconds for which requests are repeated where no service answers.
            progress: Told how far it is; see :class:`gobbler.client.bulk.run.BulkProgress`.

        Raises:
            errors.Missing: There is no such project or asset.
            errors.Forbidden: The user is no administrator.
            errors.Unreachable: No service answered for that long.
            errors.Fault: Nothing can be kept in the state directory.
        """
        return BulkValidation(
            self,
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
        """When each version was verified the last time by :meth:`validate_all`, by its address.

        ``None``: never. In the order in which they are verified.
        """
        return last_validations(self, *_checked(project, asset), retry_seconds)

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
        """Find anew the usage of all projects and the latest version of all assets.

        Or of one project with its assets, or the latest version of one asset. Yields what
        came of each; what can't be done is told, and does not keep the rest from being done.
        Goes on where it was stopped; the parameters are those of :meth:`validate_all`.
        """
        return BulkRepair(
            self,
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
        """Make manifests and links anew, of all versions or those of a project or an asset.

        Whatever the files are then, is recorded as right: have them verified before. Yields
        what came of each version, and goes on where it was stopped, as :meth:`refresh_all`.
        """
        return BulkRepair(
            self,
            "reindex",
            *_checked(project, asset),
            restart=restart,
            parallel=parallel,
            retry_seconds=retry_seconds,
            progress=progress,
        )


def _checked(project: str, asset: str) -> tuple[str, str]:
    if project:
        check_name("project", project)
    if asset:
        check_name("project", project)
        check_name("asset", asset)
    return project, asset
