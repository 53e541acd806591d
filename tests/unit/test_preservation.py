"""The spool survives those who remove what looks old, such as the Go service's daily purge."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from gobbler.errors import Fault
from gobbler.fs.flush import Durability
from gobbler.fs.layout import staging_directories
from gobbler.spool.job_store import JobRecord
from gobbler.spool.preservation import keep_young, restore
from gobbler.spool.replay_guard import ReplayGuard
from gobbler.spool.spool import Spool

UID = os.geteuid()
WEEK = 7 * 86_400.0


def purge(staging: Path) -> list[str]:
    """What the Go service does every day (its purge.go); the names of what it removes."""
    old = [path for path in staging.iterdir() if time.time() - path.lstat().st_mtime > WEEK]
    for path in old:
        shutil.rmtree(path)
    return [path.name for path in old]


def age(top: Path) -> None:
    """Let everything look as if nothing had changed for a month."""
    moment = time.time() - 30 * 86_400
    for path in (*top.rglob("*"), top):
        os.utime(path, (moment, moment))


@pytest.fixture
def guard(tmp_path: Path) -> ReplayGuard:
    return ReplayGuard(f"{tmp_path}/..requests")


@pytest.fixture
def spool(tmp_path: Path, guard: ReplayGuard) -> Spool:
    made = Spool(str(tmp_path), Durability.RELAXED)
    restore(made, guard)
    return made


def record(number: int) -> JobRecord:
    return JobRecord.of(UID, "me", f"request-upload-{number}", b"{}")


def test_what_is_in_use_does_not_look_old(tmp_path: Path, spool: Spool, guard: ReplayGuard) -> None:
    spool.accept(record(1))
    age(tmp_path)
    keep_young(spool, guard)
    assert purge(tmp_path) == []
    for path in tmp_path.rglob("*"):
        if path.name != "made":
            assert time.time() - path.stat().st_mtime < 86_400, path


def test_what_was_purged_is_made_anew(tmp_path: Path, spool: Spool, guard: ReplayGuard) -> None:
    age(tmp_path)
    assert sorted(purge(tmp_path)) == ["..requests", "..spool"]
    spool.accept(record(1))
    restore(spool, guard)
    assert list(spool.records.pending()) == [record(1).job]
    for path, mode in staging_directories(str(tmp_path)):
        assert os.lstat(path).st_mode & 0o7777 == mode


def test_the_order_of_jobs_stays(tmp_path: Path, spool: Spool, guard: ReplayGuard) -> None:
    now = time.time()
    ages = {1: 90 * 86_400, 2: 86_500, 3: 80_000, 4: 4000, 5: 10}
    for number, seconds in ages.items():
        spool.accept(record(number))
        path = f"{spool.records.directory}/{record(number).job}.0.job"
        os.utime(path, (now - seconds,) * 2)
    keep_young(spool, guard)
    times = {path.name: path.stat().st_mtime for path in Path(spool.records.directory).iterdir()}
    assert sorted(times, key=times.__getitem__) == [f"{record(n).job}.0.job" for n in ages]
    assert min(times.values()) > now - 7200


@pytest.mark.parametrize("name", ["", "/jobs", "/cur", "/new", "/tmp"])
def test_a_directory_of_another_user_is_not_used(
    tmp_path: Path, spool: Spool, guard: ReplayGuard, name: str
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give directories away")
    shutil.rmtree(tmp_path / "..spool")
    spool.restore()
    os.chown(f"{tmp_path}/..spool{name}", 12345, -1)
    with pytest.raises(Fault, match="not a directory of the service's own account"):
        restore(spool, guard)


def test_a_link_in_the_place_of_the_spool_is_not_used(
    tmp_path: Path, spool: Spool, guard: ReplayGuard
) -> None:
    os.rename(tmp_path / "..spool", tmp_path / "elsewhere")
    (tmp_path / "..spool").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Fault):
        restore(spool, guard)


def test_a_record_of_another_account_is_not_carried_out(tmp_path: Path, spool: Spool) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    spool.accept(record(1))
    os.chown(f"{spool.records.directory}/{record(1).job}.0.job", 12345, -1)
    assert spool.begin(record(1).job, 0) is None
    answer = spool.answers.state(record(1).job).answer
    assert isinstance(answer, dict)
    assert "belongs to another account" in str(answer["reason"])


def test_a_running_job_gets_back_what_was_removed(spool: Spool, guard: ReplayGuard) -> None:
    spool.accept(record(1))
    job = record(1).job
    lease = spool.acquire(job)
    assert lease is not None
    begun = spool.begin(job, 0)
    assert begun is not None
    shutil.rmtree(Path(spool.records.directory).parent)
    assert lease.is_lost()
    restore(spool, guard)
    again = spool.regain(begun, 1)
    assert again is not None
    assert spool.records.pending()[job].attempts == 1
    assert spool.acquire(job) is None, "no other worker takes it over"
    assert spool.regain(begun, 1) is None
    lease.close()
    again.release()
