"""The backlog of a spool: which jobs wait, which are held, and by whom."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gobbler.fs import directory_watch, lease
from gobbler.fs.authorship import Authorship
from gobbler.fs.flush import Durability
from gobbler.fs.layout import staging_directories
from gobbler.model.jobs import job_name
from gobbler.spool import backlog as backlogs
from gobbler.spool.backlog import Backlog
from gobbler.spool.inbox import Inbox
from gobbler.spool.job_store import JobRecord
from gobbler.spool.replay_guard import ReplayGuard
from gobbler.spool.spool import Spool

UID = os.geteuid()
NAME = "request-upload-1"
JOB = job_name(UID, NAME)


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    for path, mode in staging_directories(str(tmp_path)):
        os.mkdir(path)
        os.chmod(path, mode)
    return Spool(str(tmp_path), Durability.RELAXED)


@pytest.fixture
def inbox(spool: Spool, tmp_path: Path) -> Inbox:
    return Inbox(spool, ReplayGuard(f"{tmp_path}/..requests"), Authorship())


@pytest.fixture(params=[False, True], ids=["inotify", "looking"])
def backlog(
    spool: Spool, inbox: Inbox, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Backlog:
    monkeypatch.setattr(directory_watch, "LISTING_SHARE", 0)
    return Backlog(spool, inbox, remote=request.param)


def put(spool: Spool, name: str = NAME) -> None:
    Path(spool.tmp, name).write_bytes(b"{}")
    os.rename(Path(spool.tmp, name), Path(spool.new, name))


def waits(backlog: Backlog, job: str = JOB) -> bool:
    return backlog.waiting(job) is not None


def test_a_file_waits_until_it_is_held_and_again_when_it_is_free(
    spool: Spool, inbox: Inbox, backlog: Backlog
) -> None:
    put(spool)
    assert backlog.refresh(ours=()) == {JOB}
    assert waits(backlog)
    assert backlog.file_of(JOB) == NAME
    claimed = inbox.claim(NAME)
    assert claimed is not None
    assert JOB in backlog.refresh(ours=())
    assert not waits(backlog)
    assert backlog.file_of(JOB) is None
    assert backlog.pending(JOB).attempts == 0
    assert backlog.running(besides=()) == {UID: 1}
    assert backlog.running(besides={JOB}) == {}
    assert spool.begin(JOB, 0) is not None
    claimed.lease.release()
    assert JOB in backlog.refresh(ours=())
    assert waits(backlog)
    assert backlog.pending(JOB).attempts == 1
    spool.remove(JOB, 1)
    assert JOB in backlog.refresh(ours=())
    assert not waits(backlog)


def test_a_second_file_of_that_name_waits_for_the_end_of_the_first(
    spool: Spool, inbox: Inbox, backlog: Backlog
) -> None:
    put(spool)
    claimed = inbox.claim(NAME)
    assert claimed is not None
    put(spool)
    backlog.refresh(ours=())
    assert not waits(backlog)
    spool.remove(JOB, 0)
    claimed.lease.release()
    assert JOB in backlog.refresh(ours=())
    assert waits(backlog)
    assert backlog.file_of(JOB) == NAME


def test_a_job_whose_worker_died_waits_again(
    spool: Spool, backlog: Backlog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlogs, "CHECK_LEASES_PAUSE", 0.0)
    monkeypatch.setattr(backlogs, "CHECK_LEASES_EVERY", 0.0)
    spool.accept(JobRecord.of(UID, "me", NAME, b"{}"))
    process = os.fork()
    if process == 0:
        spool.acquire(JOB)
        os._exit(0)
    os.waitpid(process, 0)
    for _ in range(2):  # the first look may find that it is there, the second that it is free
        backlog.refresh(ours=())
    assert waits(backlog)
    assert backlog.running(besides=()) == {}


def test_a_living_worker_is_left_alone(
    spool: Spool, backlog: Backlog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check opens the lease for reading only: closing it reports nothing to others."""
    monkeypatch.setattr(backlogs, "CHECK_LEASES_EVERY", 0.0)
    spool.accept(JobRecord.of(UID, "me", NAME, b"{}"))
    held = spool.acquire(JOB)
    assert held is not None
    backlog.refresh(ours=())
    for _ in range(3):
        assert backlog.refresh(ours=()) == set()
        assert not waits(backlog)
    monkeypatch.setattr(lease, "try_lock", lambda *_: pytest.fail("our own lease is not checked"))
    backlog.refresh(ours={JOB})


def test_a_spool_that_was_removed_is_forgotten(
    spool: Spool, backlog: Backlog, tmp_path: Path
) -> None:
    spool.accept(JobRecord.of(UID, "me", NAME, b"{}"))
    backlog.refresh(ours=())
    os.rename(tmp_path / "..spool", tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError):
        backlog.refresh(ours=())
    assert not waits(backlog)
    os.rename(tmp_path / "elsewhere", tmp_path / "..spool")
    assert backlog.refresh(ours=()) == {JOB}
    assert waits(backlog)


def test_foreign_files_among_the_records_are_ignored(spool: Spool, backlog: Backlog) -> None:
    for name in ("x", "..tmp-1", "x.job", "0-.1.job", "no-job.lock", "no-job.3.job", "7-q.draft"):
        Path(spool.records.directory, name).touch()
    backlog.refresh(ours=())
    assert backlog.running(besides=()) == {}
    assert backlog.waiting("no-job") is None


def test_a_cancelled_job_is_known(spool: Spool, backlog: Backlog) -> None:
    put(spool)
    backlog.refresh(ours=())
    assert not backlog.is_cancelled(JOB)
    spool.cancel(JOB, UID)
    assert backlog.refresh(ours=()) == {JOB}
    assert backlog.is_cancelled(JOB)


def test_what_waits_costs_nothing_when_another_comes(
    spool: Spool, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many wait, a job is one event: no listing, no look at the others."""
    backlog = Backlog(spool, inbox, remote=False)
    for number in range(300):
        put(spool, f"request-upload-many-{number}")
    backlog.refresh(ours=())
    looked: list[str] = []
    real = os.lstat
    monkeypatch.setattr(
        os, "lstat", lambda path, **more: (looked.append(path), real(path, **more))[1]
    )
    monkeypatch.setattr(os, "listdir", lambda _: pytest.fail("a listing"))
    put(spool)
    assert backlog.refresh(ours=()) == {JOB}
    assert len(looked) == 1
    assert backlog.refresh(ours=()) == set()
    assert len(looked) == 1
