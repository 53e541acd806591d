"""The state of one job is found by its own names, and its lease is acquired once."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Any

import pytest

from gobbler.errors import Code, Fault, Refused
from gobbler.fs import lease as leases
from gobbler.fs.authorship import Authorship
from gobbler.fs.flush import Durability
from gobbler.fs.layout import staging_directories
from gobbler.fs.lock import try_lock
from gobbler.model.jobs import job_name
from gobbler.spool import spool as spools
from gobbler.spool.backlog import Backlog
from gobbler.spool.inbox import Inbox
from gobbler.spool.job_store import LAST_ATTEMPT, JobRecord
from gobbler.spool.replay_guard import ReplayGuard
from gobbler.spool.spool import Spool

NAME = "request-health_check-1"
UID = os.geteuid()
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


def put(spool: Spool, content: bytes = b"{}") -> Path:
    written = Path(spool.tmp, NAME)
    written.write_bytes(content)
    return written.rename(Path(spool.new, NAME))


def record() -> JobRecord:
    return JobRecord.of(UID, "me", NAME, b"{}")


def test_a_process_that_looks_at_a_new_lease_does_no_harm(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []

    def looking(descriptor: int, operation: int) -> bool:
        """Have another process look whether the job is abandoned, right before it is locked."""
        if len(looks) == 2:
            return try_lock(descriptor, operation)
        other = os.open(spool.records.lock(JOB), os.O_RDONLY)
        looks.append(other)
        assert try_lock(other, fcntl.LOCK_SH)
        is_free = try_lock(descriptor, operation)
        os.close(other)
        return is_free

    monkeypatch.setattr(leases, "try_lock", looking)
    spool.accept(record())
    assert len(looks) == 2
    assert spool.answers.state(JOB).state == "waiting"


@pytest.fixture
def listed(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Paths of directories that are listed while the test runs."""
    found: list[str] = []

    def recording(real: Any) -> Any:
        def call(path: Any = ".") -> Any:
            found.append(os.readlink(f"/proc/self/fd/{path}") if isinstance(path, int) else path)
            return real(path)

        return call

    for name in ("listdir", "scandir"):
        monkeypatch.setattr(os, name, recording(getattr(os, name)))
    return found


def test_one_job_is_handled_without_a_listing_of_all(
    spool: Spool, inbox: Inbox, listed: list[str]
) -> None:
    spool.accept(record())
    with pytest.raises(Refused) as caught:
        spool.accept(record())
    assert caught.value.code is Code.REPEATED_REQUEST
    assert spool.answers.state(JOB).state == "waiting"
    spool.cancel(JOB, UID)
    assert spool.records.is_cancelled(JOB)
    lease = spool.acquire(JOB)
    assert lease is not None
    assert spool.begin(JOB, 0) is not None
    spool.remove(JOB, 1)
    lease.release()
    put(spool)
    claimed = inbox.claim(NAME)
    assert claimed is not None
    assert spool.begin(JOB, 0) is not None
    claimed.lease.release()
    assert spool.records.directory not in listed
    assert spool.cur not in listed


def test_a_claimed_job_has_its_lease_already(
    spool: Spool, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    acquired: list[str] = []
    real = spools.acquire
    monkeypatch.setattr(spools, "acquire", lambda path: acquired.append(path) or real(path))
    put(spool)
    claimed = inbox.claim(NAME)
    assert claimed is not None
    assert acquired == [spool.records.lock(JOB)]
    assert spool.acquire(JOB) is None  # this process holds it
    backlog = Backlog(spool, inbox)
    backlog.refresh(ours=())
    assert backlog.running(besides=()) == {UID: 1}
    claimed.lease.release()
    assert os.listdir(spool.records.directory) == [f"{JOB}.0.job"]


def test_all_unanswered_jobs_are_found_in_one_listing(spool: Spool, listed: list[str]) -> None:
    spool.accept(record())
    assert set(spool.records.pending()) == {JOB}
    assert listed.count(spool.records.directory) == 1


def test_after_the_last_attempt_the_record_keeps_its_name(spool: Spool) -> None:
    spool.accept(record())
    for attempts in range(LAST_ATTEMPT):
        assert spool.begin(JOB, attempts) is not None
    assert spool.begin(JOB, LAST_ATTEMPT) is not None
    assert os.listdir(spool.records.directory) == [f"{JOB}.{LAST_ATTEMPT}.job"]
    assert spool.records.exists(JOB)


def claim_of_a_crash(spool: Spool, *, old: bool, other: bool = False) -> None:
    """A request file that was claimed by a worker which died right after that."""
    status = put(spool, b'{"a": 1}').stat()
    made = JobRecord.of(UID, "me", NAME, b'{"a": 1}', status)
    if other:  # its owner swapped it at the last moment
        os.unlink(Path(spool.new, NAME))
        put(spool, b'{"b": 2}')
        os.utime(Path(spool.new, NAME), (1, 1))
    if old:
        target = f"{JOB}.{status.st_ino:x}-{status.st_mtime_ns:x}.claimed"
        os.rename(Path(spool.new, NAME), Path(spool.records.directory, target))
    else:
        spool.records.write_draft(made)
        os.rename(Path(spool.new, NAME), spool.records.request(JOB))


@pytest.mark.parametrize("old", [False, True])
def test_a_claim_that_a_crash_interrupted_is_completed(
    spool: Spool, inbox: Inbox, old: bool
) -> None:
    claim_of_a_crash(spool, old=old)
    pending = spool.records.pending()[JOB]
    assert pending.attempts is None
    assert pending.claim is not None
    assert inbox.complete_claim(JOB, pending.claim, has_record=False)
    assert os.listdir(spool.records.directory) == [f"{JOB}.0.job"]
    assert Path(spool.cur, JOB).read_bytes() == b'{"a": 1}'
    begun = spool.begin(JOB, 0)
    assert begun is not None
    assert begun.data == b'{"a": 1}'


@pytest.mark.parametrize("old", [False, True])
def test_another_file_that_was_claimed_goes_back(spool: Spool, inbox: Inbox, old: bool) -> None:
    claim_of_a_crash(spool, old=old, other=True)
    claim = spool.records.pending()[JOB].claim
    assert claim is not None
    assert not inbox.complete_claim(JOB, claim, has_record=False)
    assert os.listdir(spool.records.directory) == []
    assert Path(spool.new, NAME).read_bytes() == b'{"b": 2}'


def test_a_draft_of_no_claim_is_removed_by_recovery(spool: Spool) -> None:
    spool.records.write_draft(record())
    spool.recover(0)
    assert os.listdir(spool.records.directory) == [f"{JOB}.draft"]
    spool.recover(os.stat(spool.records.directory).st_mtime + 1)
    assert os.listdir(spool.records.directory) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give directories away")
def test_a_record_in_a_spool_of_somebody_else_is_not_touched(spool: Spool) -> None:
    spool.accept(record())
    os.chown(spool.records.directory, 12345, 12345)
    with pytest.raises(Fault, match="not a directory of the service's own"):
        spool.begin(JOB, 0)
    assert spool.records.has_begun(JOB, 0)
    assert not spool.answers.has(JOB)
