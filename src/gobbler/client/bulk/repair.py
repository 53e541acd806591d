"""Refreshing and reindexing many versions: :meth:`Admin.refresh_all` and ``reindex_all``."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from gobbler.client import errors
from gobbler.client.bulk.ledger import Claims, Ledger
from gobbler.client.bulk.run import (
    BulkProgress,
    BulkRequester,
    BulkRun,
    NoBulkProgress,
    TargetProgress,
    problems_in,
)
from gobbler.client.bulk.targets import (
    BulkService,
    Targets,
    read_stored_files,
    registry_id,
)
from gobbler.client.parallel import Stop
from gobbler.client.registry_walk import SkippedEntry
from gobbler.model.names import VersionKey
from gobbler.rules.bulk import takes_long

_FIELDS = ("project", "asset", "version")


class RepairResult(Struct, frozen=True):
    """The result of an ``action``, such as ``refresh_usage``, on a project, asset or version.

    ``problem`` says why it failed; it is empty after a success. ``found`` is the result: the usage
    in bytes, or the name of the latest version.
    """

    action: str
    project: str
    asset: str = ""
    version: str = ""
    problem: str = ""
    found: int | str | None = None

    @property
    def address(self) -> str:
        """``project``, ``project/asset`` or ``project/asset/version``."""
        return "/".join(part for part in (self.project, self.asset, self.version) if part)


class BulkRepair(BulkRun[RepairResult]):
    """Refreshes or reindexes each target while you iterate; see ``refresh_all``."""

    def __init__(
        self,
        service: BulkService,
        action: str,
        project: str,
        asset: str,
        *,
        restart: bool,
        parallel: int,
        retry_seconds: float,
        progress: BulkProgress | None,
    ) -> None:
        registry = registry_id(service)
        scope = "/".join(filter(None, (project, asset)))
        self.action = action
        self._service = service
        self._requester = BulkRequester(service, progress or NoBulkProgress(), retry_seconds)
        targets = Targets(service, project, asset, self._requester.ask)
        tasks = _to_reindex(targets) if action == "reindex" else _to_refresh(targets, asset)
        with Ledger(*registry) as ledger:
            run = None if restart else ledger.unfinished_run(action, scope)
            done = set() if run is None else ledger.done_tasks(run)
        left = [task for task in tasks if task not in done]
        super().__init__(
            registry,
            left,
            scope=scope,
            run=run,
            done_before=len(tasks) - len(left),
            invalid=[_invalid(action, each) for each in targets.skipped if each.is_wrong],
            skipped=targets.skipped,
            parallel=parallel,
            restart=restart,
            progress=progress,
        )

    def _begin(self, ledger: Ledger) -> None:
        self._progress.expect_versions(len(self.tasks), None)
        super()._begin(ledger)

    def _should_retry(self, result: RepairResult) -> bool:
        # Reindexing reads the manifests of the versions that links lead to.
        return self.action == "reindex" and bool(result.problem)

    def _is_done(self, ledger: Ledger, task: str) -> bool:
        run = self._run or ledger.unfinished_run(self.action, self.scope)
        return run is None or ledger.is_done(run, task)

    def _carry_out(self, task: str, stop: Stop, claims: Claims) -> RepairResult | None:
        action, *names = task.split("/")
        target = TargetProgress(self._progress, stop, claims)
        is_long = action == "reindex_version" and self._takes_long(VersionKey(*names), stop)
        fields = dict(zip(_FIELDS, names, strict=False))
        try:
            answer = self._requester.request(target, stop, action, long=is_long, **fields)
        except errors.RequestFailed as error:
            target.reach(0, 0)
            if self._requester.was_deleted(error, *names):
                return None
            return RepairResult(action, **fields, problem="; ".join(problems_in(error)))
        found = answer.get("total", answer.get("version"))
        found = found if isinstance(found, int | str) else None
        return RepairResult(action, **fields, found=found)

    def _takes_long(self, key: VersionKey, stop: Stop) -> bool:
        """Whether a version is worth a job; also if its manifest is damaged."""
        stored = self._requester.ask(lambda: read_stored_files(self._service, key), stop)
        return stored is None or takes_long(*stored)

    def _record(self, ledger: Ledger, task: str, result: RepairResult | None) -> None:
        assert self._run is not None
        if result is None or not result.problem:
            ledger.mark_done(self._run, task)


def _to_refresh(targets: Targets, asset: str) -> Sequence[str]:
    usages = [] if asset else [f"refresh_usage/{project}" for project in targets.projects]
    return usages + [f"refresh_latest/{key.path}" for key in targets.assets]


def _to_reindex(targets: Targets) -> Sequence[str]:
    return [f"reindex_version/{key.path}" for key in targets.versions()]


def _invalid(action: str, found: SkippedEntry) -> RepairResult:
    project, asset, version = (*found.names, "", "")[:3]
    return RepairResult(action, project, asset, version, problem=found.problem)
