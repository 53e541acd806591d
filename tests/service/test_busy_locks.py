"""Jobs that find a lock held by another service wait, say so, and go on with what they have."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gobbler.client import Client
from gobbler.client.jobs import Job
from gobbler.errors import Code, GobblerError
from gobbler.fs.heartbeat import Heartbeat
from gobbler.model.jobs import WORKERS
from gobbler.service import job_runner, scheduler
from gobbler.service.context import executor_of, make_service_context
from gobbler.service.scheduler import Scheduler
from gobbler.service.settings import Settings, check_directories

from .processes import Place, own_name, upload_of, wait_for
from .spools import in_jobs, spool


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """A place with a project, and a scheduler in this process that does not wait long for locks."""
    monkeypatch.setattr("gobbler.fs.lock.LOCK_TIMEOUT", 0.1)
    monkeypatch.setattr(job_runner, "RETRY_PAUSE", 0.0)
    monkeypatch.setattr(scheduler, "FIRST_RETRY", 0.05)
    monkeypatch.setattr(scheduler, "LONGEST_RETRY", 0.1)
    place = Place(tmp_path)
    settings = Settings(str(place.staging), str(place.registry), frozenset([own_name()]), jobs=1)
    check_directories(settings)
    service = make_service_context(settings, executor_of(settings, 2))
    running = Scheduler(service, settings.replay_guard, 1)
    thread = threading.Thread(target=running.run)
    thread.start()
    heartbeat = Heartbeat(str(spool(place) / "cur" / WORKERS))
    heartbeat.start()
    try:
        client_of(place).connection.request("create_project", project="p")
        yield place
    finally:
        heartbeat.stop()
        running.stop(10)
        thread.join()


def client_of(place: Place) -> Client:
    return Client(staging=str(place.staging), registry=str(place.registry))


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold a lock of the registry in another process, as another service would."""
    command = ["flock", "--exclusive", str(path), "sh", "-c", "echo held; exec sleep 1000"]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    try:
        yield
    finally:
        os.killpg(holder.pid, signal.SIGKILL)
        holder.wait()
        holder.stdout.close()


def upload(place: Place) -> Job:
    source = place.stage({"f": b"content", "d/g": b"more"})
    return client_of(place).connection.start("upload", **upload_of(source))


def wait_until_busy(job: Job, times: int = 1) -> None:
    """Wait until the job has waited for a lock, that often."""
    lock = "..LOCK"
    seen: set[str] = set()

    def waits() -> bool:
        state = job.state()
        held_up = str(state.progress.waits_for or "")
        if state.state == "waiting" and lock in held_up:
            assert state.started
            assert state.attempts == 0
            seen.add("waiting")
        elif seen and state.state == "running":
            seen.add(f"again {len(seen)}")
        return len(seen) >= times

    wait_for("it waits for the lock", waits)


def inode_of_copy(place: Place) -> int:
    with contextlib.suppress(FileNotFoundError):  # it is on its way to the next attempt
        for copy in (place.registry / "..incoming").glob("**/tree/d/g"):
            return copy.stat().st_ino
    return 0


def test_a_job_waits_for_a_lock_says_so_and_does_not_copy_again(place: Place) -> None:
    with held(place.registry / "p/..LOCK"):
        job = upload(place)
        wait_until_busy(job)
        inode = wait_for("it has copied", lambda: inode_of_copy(place))
        wait_until_busy(job, times=3)
    assert job.wait() == {"status": "SUCCESS"}
    assert (place.registry / "p/a/1/d/g").read_bytes() == b"more"
    assert (place.registry / "p/a/1/d/g").stat().st_ino == inode
    wait_for("nothing is left", lambda: in_jobs(place) == [] and place.incoming() == [])


def test_a_job_that_waits_for_a_lock_can_be_cancelled(place: Place) -> None:
    with held(place.registry / "p/..LOCK"):
        job = upload(place)
        wait_until_busy(job)
        assert job.cancel().state == "cancelled"
    assert not (place.registry / "p/a").exists()
    wait_for("nothing is left", lambda: in_jobs(place) == [] and place.incoming() == [])


def test_a_job_that_has_waited_for_a_day_fails(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    with held(place.registry / "p/..LOCK"):
        job = upload(place)
        wait_until_busy(job)
        monkeypatch.setattr(job_runner, "BUSY_SECONDS", 0.0)
        with pytest.raises(GobblerError) as failed:
            job.wait()
    assert failed.value.code == Code.LOCK_TIMEOUT
    wait_for("nothing is left", lambda: in_jobs(place) == [] and place.incoming() == [])
