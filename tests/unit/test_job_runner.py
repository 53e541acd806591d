"""The answers and the progress of jobs, as their owners read them."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gobbler.fs.flush import Durability
from gobbler.fs.layout import registry_directories, staging_directories
from gobbler.model.jobs import JobState
from gobbler.model.progress import Progress
from gobbler.registry.registry import Registry
from gobbler.service import job_runner
from gobbler.service.job_runner import JobRunner
from gobbler.service.outcome import Outcome, RequestHandler
from gobbler.spool.job_store import JobRecord
from gobbler.spool.spool import Spool


@pytest.fixture
def staging(tmp_path: Path) -> str:
    path = str(tmp_path / "staging")
    os.mkdir(path)
    for directory, mode in staging_directories(path):
        os.mkdir(directory, mode)
    return path


@pytest.fixture
def service(tmp_path: Path) -> Any:
    path = str(tmp_path / "registry")
    os.mkdir(path)
    for directory, mode in registry_directories(path):
        os.mkdir(directory, mode)
    return SimpleNamespace(
        registry=Registry(path), durability=Durability.RELAXED, reserves_for=lambda action: ()
    )


def run(requests: RequestHandler, spool: Spool, data: bytes) -> str:
    """Run a job with the content ``data``; its name."""
    record = JobRecord.of(os.getuid(), "ada", "request-refresh_usage-1", data)
    spool.accept(record)
    lease = spool.acquire(record.job)
    assert lease is not None
    begun = spool.begin(record.job, 0)
    assert begun is not None
    JobRunner(requests, spool).run(lease, begun, 1)
    return record.job


def test_a_change_that_was_made_before_is_answered_with_what_was_ignored(
    staging: str, service: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_runner, "recover_workspace", lambda *_: {"total": 1})
    spool = Spool(staging, Durability.RELAXED)
    job = run(RequestHandler(service), spool, b'{"project": "p", "projekt": "q"}')
    assert spool.answers.state(job).answer == {
        "status": "SUCCESS",
        "total": 1,
        "ignored": ["$.projekt"],
        "http_status": 200,
    }


def test_who_reads_right_after_the_answer_was_written_finds_the_whole_progress(
    staging: str, service: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Handler(RequestHandler):
        def carry_out(self, *_: object, progress: Progress, **__: object) -> Outcome:
            progress.expect(3, 30)
            progress.advance(3, 30)
            return Outcome({"status": "SUCCESS"})

    spool = Spool(staging, Durability.RELAXED)
    write_state = spool.answers.write_state
    read = []

    def read_before_the_last(state: JobState) -> None:
        if state.is_final:
            read.append(spool.answers.state(state.job))
        write_state(state)

    monkeypatch.setattr(spool.answers, "write_state", read_before_the_last)
    run(Handler(service), spool, b"{}")
    (found,) = read
    assert (found.state, found.progress.files, found.progress.files_expected) == ("done", 3, 3)
