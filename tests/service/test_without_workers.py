"""Clients of a spool for which nobody works: what they say, and how they end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gobbler.client import Client
from gobbler.client.notices import StillRunning, Waiting
from gobbler.errors import Code, GobblerError
from gobbler.fs.flush import Durability
from gobbler.spool.job_store import JobRecord
from gobbler.spool.spool import Spool

from .processes import ATTENTIVE, Place, wait_for
from .spools import Workers, spool

NOBODY = "no worker takes jobs"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A place with a project, whose worker has ended."""
    place = Place(tmp_path_factory.mktemp("place"))
    with Workers(place) as workers:
        worker = workers.start()
        workers.ready(worker)
        client_of(place).connection.request("create_project", project="p")
        worker.terminate()
        assert worker.wait(30) == 0
    return place


def client_of(place: Place) -> Client:
    return Client(staging=str(place.staging), registry=str(place.registry))


def waiting(place: Place) -> list[str]:
    return os.listdir(spool(place) / "new")


def left(place: Place) -> list[str]:
    """What a client has left in staging."""
    own = [name for name in os.listdir(place.staging) if not name.startswith("..")]
    return own + waiting(place) + os.listdir(spool(place) / "tmp")


def command(place: Place, *words: str) -> subprocess.Popen[str]:
    directories = (f"--staging={place.staging}", f"--registry={place.registry}")
    return subprocess.Popen(
        [*ATTENTIVE, sys.executable, "-m", "gobbler", *words, *directories],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_command_says_so_once_and_ctrl_c_withdraws_its_request(
    place: Place, tmp_path: Path
) -> None:
    (tmp_path / "f").write_text("content")
    running = command(place, "upload", str(tmp_path), "p/a/1")
    assert running.stderr is not None
    said = running.stderr.readline()
    assert NOBODY in said
    assert "gobbler worker" in said
    assert waiting(place)
    running.send_signal(signal.SIGINT)
    begun = time.monotonic()
    _, rest = running.communicate(timeout=30)
    assert time.monotonic() - begun < 25  # as long as it took to give up on workers once
    assert (running.returncode, rest.split()) == (130, ["interrupted"])
    assert left(place) == []


def test_sigterm_withdraws_a_request_too(place: Place) -> None:
    running = command(place, "create-project", "q")
    wait_for("it waits", lambda: waiting(place))
    running.send_signal(signal.SIGTERM)
    _, said = running.communicate(timeout=30)
    assert (running.returncode, said.split()) == (143, ["terminated"])
    assert left(place) == []


def test_a_program_is_warned_once(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gobbler.client.jobs.TELL_AFTER", 0.0)
    monkeypatch.setattr("gobbler.client.notices._told", set())
    job = client_of(place).connection.start("health_check")
    with pytest.warns(Waiting, match=NOBODY) as warned, pytest.raises(GobblerError) as stopped:
        job.wait(timeout=0.2)
    assert stopped.value.code == Code.TIMEOUT
    assert len([w for w in warned if w.category is Waiting]) == 1
    assert NOBODY in str(job.state().progress.waits_for)
    job.cancel()


def test_a_request_that_nobody_began_is_cancelled_without_a_worker(place: Place) -> None:
    client = client_of(place)
    job = client.connection.start("health_check")
    assert job.cancel().state == "cancelled"
    assert waiting(place) == []
    with pytest.raises(GobblerError) as cancelled:
        job.wait()
    assert cancelled.value.code == Code.CANCELLED


def test_a_job_that_has_begun_is_left_with_a_request_to_cancel_it(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gobbler.client.jobs.GIVE_UP_SECONDS", 0.3)
    record = JobRecord.of(os.geteuid(), "root", "request-health_check-begun", b"{}")
    the_spool = Spool(str(place.staging), Durability.RELAXED)
    the_spool.accept(record)
    job = client_of(place).jobs.get(record.job)
    with pytest.warns(StillRunning, match=f"gobbler jobs show {record.job}"):
        job.give_up()
    (request,) = waiting(place)
    assert json.loads((spool(place) / "new" / request).read_text()) == {"job": record.job}
