"""Refreshing and reindexing all: the sweeps behind :meth:`Admin.refresh_all` and the like."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from gobbler.client.bulk.ledger import Attendance, Ledger
from gobbler.client.bulk.request import Amount, Carrier
from gobbler.client.bulk.run import Sweep, SweepProgress, Unseen
from gobbler.client.bulk.survey import Odd, Overseeing, Survey, problems_in
from gobbler.client.errors import RequestFailed
from gobbler.client.parallel import Stop
from gobbler.model.names import VersionKey
from gobbler.rules.bulk import takes_long

_FIELDS = ("project", "asset", "version")


class Repaired(Struct, frozen=True):
    """What came of an ``action``, such as ``refresh_usage``, on a project, an asset or a version.

    ``problem`` is why it could not be done, empty if it could. ``found`` is what the service
    has found: the usage in bytes, or the name of the latest version.
    """

    action: str
    project: str
    asset: str = ""
    version: str = ""
    problem: str = ""
    found: int | str | None = None

    @property
    def address(self) -> str:
        """``project/asset/version``, as far as it goes."""
        return "/".join(part for part in (self.project, self.asset, self.version) if part)


class Repairs(Sweep[Repaired]):
    """What is to be refreshed or reindexed; iterate to have that done, one by one.

    See :meth:`Admin.refresh_all` and :meth:`Admin.reindex_all`.
    """

    def __init__(
        self,
        client: Overseeing,
        action: str,
        project: str,
        asset: str,
        *,
        restart: bool,
        parallel: int,
        patience: float,
        progress: SweepProgress | None,
    ) -> None:
        of = client._registry_of()
        scope = "/".join(filter(None, (project, asset)))
        self.action = action
        self._client = client
        self._carrier = Carrier(client, progress or Unseen(), patience)
        survey = Survey(client, project, asset, self._carrier.ask)
        tasks = _reindexing(survey) if action == "reindex" else _refreshing(survey, asset)
        with Ledger(*of) as ledger:
            run = None if restart else ledger.unfinished(action, scope)
            done = set() if run is None else ledger.done(run)
        left = [task for task in tasks if task not in done]
        super().__init__(
            of,
            left,
            scope=scope,
            run=run,
            done_before=len(tasks) - len(left),
            odd=[_odd(action, each) for each in survey.odd],
            parallel=parallel,
            restart=restart,
            progress=progress,
        )

    def _begin(self, ledger: Ledger) -> None:
        self._progress.expect(len(self.tasks), None)
        super()._begin(ledger)

    def _may_mend(self, result: Repaired) -> bool:
        # Links are looked up in the manifest of the version that they lead to.
        return self.action == "reindex" and bool(result.problem)

    def _is_done(self, ledger: Ledger, task: str) -> bool:
        run = self._run or ledger.unfinished(self.action, self.scope)
        return run is None or ledger.is_done(run, task)

    def _carry_out(self, task: str, stop: Stop, attendance: Attendance) -> Repaired | None:
        action, *names = task.split("/")
        amount = Amount(self._progress, stop, attendance)
        is_long = action == "reindex_version" and self._takes_long(VersionKey(*names), stop)
        fields = dict(zip(_FIELDS, names, strict=False))
        try:
            answer = self._carrier.request(amount, stop, action, long=is_long, **fields)
        except RequestFailed as error:
            amount.reach(0, 0)
            if self._client._was_deleted(error, *names):
                return None
            return Repaired(action, **fields, problem="; ".join(problems_in(error)))
        found = answer.get("total", answer.get("version"))
        return Repaired(action, **fields, found=found if isinstance(found, int | str) else None)

    def _takes_long(self, key: VersionKey, stop: Stop) -> bool:
        """Whether a version is worth a job; nothing is known where its manifest is damaged."""
        stored = self._carrier.ask(lambda: self._client._stored(key), stop)
        return stored is None or takes_long(*stored)

    def _keep(self, ledger: Ledger, task: str, result: Repaired | None) -> None:
        assert self._run is not None
        if result is None or not result.problem:
            ledger.finish(self._run, task)


def _refreshing(survey: Survey, asset: str) -> Sequence[str]:
    usages = [] if asset else [f"refresh_usage/{project}" for project in survey.projects]
    return usages + [f"refresh_latest/{key.path}" for key in survey.assets]


def _reindexing(survey: Survey) -> Sequence[str]:
    return [f"reindex_version/{key.path}" for key in survey.versions()]


def _odd(action: str, odd: Odd) -> Repaired:
    return Repaired(action, *odd[:3], problem=odd.problem)
