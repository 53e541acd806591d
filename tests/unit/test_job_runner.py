"""The answers of jobs that another worker had made, but could not answer."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gobbler.fs.flush import Durability
from gobbler.fs.layout import registry_directories, staging_directories
from gobbler.registry.registry import Registry
from gobbler.service import job_runner
from gobbler.service.job_runner import JobRunner
from gobbler.service.outcome import RequestHandler
from gobbler.spool.job_store import JobRecord
from gobbler.spool.spool import Spool


def test_a_change_that_was_made_before_is_answered_with_what_was_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    staging, registry = str(tmp_path / "staging"), str(tmp_path / "registry")
    for top in (staging, registry):
        os.mkdir(top)
    for path, mode in (*staging_directories(staging), *registry_directories(registry)):
        os.mkdir(path, mode)
    service: Any = SimpleNamespace(
        registry=Registry(registry), durability=Durability.RELAXED, reserves_for=lambda action: ()
    )
    monkeypatch.setattr(job_runner, "recover_workspace", lambda *_: {"total": 1})
    spool = Spool(staging, Durability.RELAXED)
    data = b'{"project": "p", "projekt": "q"}'
    record = JobRecord.of(os.getuid(), "ada", "request-refresh_usage-1", data)
    spool.accept(record)
    lease = spool.acquire(record.job)
    assert lease is not None
    begun = spool.begin(record.job, 0)
    assert begun is not None
    JobRunner(RequestHandler(cast(Any, service)), spool).run(lease, begun, 1)
    assert spool.answers.state(record.job).answer == {
        "status": "SUCCESS",
        "total": 1,
        "ignored": ["$.projekt"],
        "http_status": 200,
    }
