"""A disk below the spool that runs full while jobs wait: nothing is lost."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from gobbler.client import Client
from gobbler.errors import Code, Fault

from .processes import Place, Running, wait_for
from .spools import Workers, answer_of, drop, in_jobs, own_name, spool, stays_so, uid_of

COUNT = 30


@pytest.fixture
def tmp_path(removed_by_us: Path) -> Path:
    """For a mount."""
    return removed_by_us


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """Staging on a small disk of its own."""
    tmp_path.chmod(0o755)
    disk = tmp_path / "staging"
    made = Place(tmp_path)
    options = "size=1m,mode=1777,nr_inodes=2000"
    mounting = ["mount", "-t", "tmpfs", "-o", options, "none", str(disk)]
    mounted = subprocess.run(mounting, capture_output=True)
    if mounted.returncode:
        pytest.skip(f"can't mount a disk here: {mounted.stderr.decode()}")
    yield made
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def fill(place: Place) -> Path:
    """Leave no room at all."""
    filler = place.staging / "filler"
    with filler.open("wb", buffering=0) as handle, suppress(OSError):
        while True:
            handle.write(b"\0" * 4096)
    return filler


def test_jobs_wait_until_there_is_room_again(place: Place) -> None:
    me = uid_of(own_name())
    with Workers(place) as workers:
        first = workers.start()
        workers.ready(first)
        first.terminate()
        assert first.wait(30) == 0
        jobs = drop(
            place, [(me, f"request-create_project-{n}", {"project": f"p{n}"}) for n in range(COUNT)]
        )
        filler = fill(place)
        workers.ready(workers.start())
        wait_for("it is logged", lambda: "No space left" in workers.log(1))
        assert stays_so(lambda: workers.processes[1].poll() is None, 0.5)
        # Whatever could be done, each request is still somewhere.
        waiting = os.listdir(spool(place) / "new")
        known = {name for name in in_jobs(place) if name.endswith((".job", ".claimed"))}
        ended = list((spool(place) / "cur").glob("*.answer"))
        assert len(waiting) + len(known) + len(ended) >= COUNT
        assert workers.log(1).count("No space left") < 500
        filler.unlink()
        for job in jobs:
            assert answer_of(place, job) == {"status": "SUCCESS", "http_status": 200}
        for number in range(COUNT):
            assert (place.registry / f"p{number}/..permissions").exists()
        wait_for("nothing is left", lambda: in_jobs(place) == [] and place.incoming() == [])
        assert "Traceback" not in workers.output()


def test_a_request_that_has_no_room_says_where(place: Place) -> None:
    with Running(place) as service:
        client = Client(service.url, staging=place.staging, registry=place.registry)
        fill(place)
        with pytest.raises(Fault) as raised:
            client.admin.create_project("p")
        assert raised.value.code == Code.DISK_FULL
        assert str(place.staging) in raised.value.reason
        assert raised.value.hint
