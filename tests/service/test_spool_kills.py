"""Workers that are killed all the time: each job is done once, and answered so.

``GOBBLER_SPOOL_JOBS`` sets how many jobs there are.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from gobbler.model.jobs import WORKERS

from .processes import Place, public_place, wait_for
from .spools import (
    ALICE,
    BOB,
    SERVICE,
    Workers,
    drop,
    hall,
    in_jobs,
    kill,
    own_name,
    spool,
    uid_of,
)

__all__ = ["hall", "public_place"]

JOBS = int(os.environ.get("GOBBLER_SPOOL_JOBS", "50"))
PATIENCE = 60 + JOBS / 2
USERS = (ALICE, BOB, own_name())


def stage(place: Place, user: str, number: int) -> str:
    source = place.staging / f"source-{user}-{number}"
    (source / "d").mkdir(parents=True)
    (source / "d/own").write_text(f"{user} {number}")
    (source / "same").write_text("the same in all of them")
    for path in (source, source / "d", *source.rglob("*")):
        os.chown(path, uid_of(user), -1)
    return source.name


def requests(place: Place, count: int) -> list[tuple[int, str, object]]:
    """Uploads of several users in turn, each with a version of its own."""
    made: list[tuple[int, str, object]] = []
    for number in range(count):
        user = USERS[number % len(USERS)]
        payload = {"project": "p", "asset": user, "version": str(number)}
        source = stage(place, user, number)
        name = f"request-upload-{number}"
        made.append((uid_of(user), name, {**payload, "source": source}))
    return made


def answers(place: Place, jobs: list[str]) -> dict[str, Any]:
    found = {}
    for job in jobs:
        path = spool(place) / "cur" / f"{job}.answer"
        if path.exists():
            found[job] = json.loads(path.read_bytes())
    return found


def make_project(place: Place, workers: Workers) -> None:
    first = workers.start()
    workers.ready(first)
    payload = {"project": "p", "permissions": {"owners": list(USERS)}}
    made = drop(place, [(0, "request-create_project-p", payload)])
    wait_for("the project", lambda: answers(place, made))
    kill(first)


def done(place: Place, jobs: list[str]) -> int:
    return sum((spool(place) / "cur" / f"{job}.answer").exists() for job in jobs)


def check_each_was_done_once(place: Place, jobs: list[str], count: int) -> None:
    found = answers(place, jobs)
    assert len(found) == count
    wrong = {job: answer for job, answer in found.items() if answer.get("status") != "SUCCESS"}
    assert not wrong
    versions = {path.parent.name for path in (place.registry / "p").glob("*/*/..summary")}
    assert versions == {str(number) for number in range(count)}
    logged = Counter(
        entry["version"]
        for entry in (json.loads(p.read_bytes()) for p in (place.registry / "..logs").iterdir())
        if entry["type"] == "add-version"
    )
    assert set(logged) == versions
    assert set(logged.values()) == {1}
    total = 0
    for manifest in (place.registry / "p").glob("*/*/..manifest"):
        entries = json.loads(manifest.read_bytes())
        total += sum(entry["size"] for entry in entries.values() if "link" not in entry)
        number, user = manifest.parent.name, manifest.parent.parent.name
        assert (manifest.parent / "d/own").read_text() == f"{user} {number}"
        assert (manifest.parent / "same").read_text() == "the same in all of them"
        summary = json.loads((manifest.parent / "..summary").read_bytes())
        assert summary["upload_user_id"] == user
    assert place.read("p/..usage") == {"total": total}


def check_all_are_valid(place: Place, workers: Workers, count: int) -> None:
    workers.start()
    validate = drop(
        place,
        [
            (
                0,
                f"request-validate_version-{number}",
                {"project": "p", "asset": USERS[number % len(USERS)], "version": str(number)},
            )
            for number in range(count)
        ],
    )
    wait_for("all are validated", lambda: done(place, validate) == count, PATIENCE)
    assert {answer["status"] for answer in answers(place, validate).values()} == {"SUCCESS"}
    for process in workers.processes:
        if process.poll() is None:
            process.terminate()
            assert process.wait(30) == 0


def check_nothing_is_left(place: Place) -> None:
    """The state after the next recovery, which removes unfinished files once they are old."""
    with Workers(place, user=SERVICE) as workers:
        unfinished = [(spool(place) / "jobs").glob("..tmp-*")]
        unfinished.append((place.registry / "..incoming").glob("..doctor-*"))
        for path in itertools.chain(*unfinished):
            os.utime(path, (time.time() - 3600,) * 2)
        workers.ready(workers.start())
        deadline = time.monotonic() + 30
        while left := [*in_jobs(place), *place.incoming()]:
            assert time.monotonic() < deadline, f"{left}: {workers.output()}"
            time.sleep(0.1)
    assert list((spool(place) / "new").iterdir()) == []
    left = {path.name for path in (spool(place) / "cur").iterdir()}
    assert {name for name in left if not name.endswith((".answer", ".state"))} <= {WORKERS}


def test_a_thousand_jobs_while_workers_are_killed(hall: Place) -> None:
    chance = random.Random(5)
    with Workers(hall, user=SERVICE) as workers:
        make_project(hall, workers)
        jobs = drop(hall, requests(hall, JOBS))
        living = [workers.start() for _ in range(3)]
        kills, deadline = 0, time.monotonic() + PATIENCE
        while done(hall, jobs) < JOBS:
            assert time.monotonic() < deadline, f"{done(hall, jobs)} of {JOBS}, {workers.output()}"
            time.sleep(chance.uniform(0.05, 0.6))
            if done(hall, jobs):
                victim = living.pop(chance.randrange(len(living)))
                kill(victim)
                kills += 1
                living.append(workers.start())
        for process in living:
            kill(process)
        print(f"{JOBS} jobs, {kills} kills")
        assert kills
        check_each_was_done_once(hall, jobs, JOBS)
        check_all_are_valid(hall, workers, JOBS)
    check_nothing_is_left(hall)


def on_another_host(name: str) -> list[str]:
    """The command that runs another one where only the directories are shared."""
    # The shell stays: a process that becomes another user's is not killed with its parent.
    return [
        *("unshare", "--pid", "--uts", "--fork", "--kill-child", "--mount-proc"),
        *("sh", "-c", f'hostname {name}; "$@"; exit $?', "sh"),
        *("setpriv", f"--reuid={uid_of(SERVICE)}", f"--regid={uid_of(SERVICE)}", "--clear-groups"),
    ]


@pytest.fixture
def hosts() -> list[list[str]]:
    """How to run something on each of two hosts."""
    if os.geteuid() != 0:
        pytest.skip("only root can make namespaces")
    for tool in ("unshare", "setpriv"):
        if shutil.which(tool) is None:
            pytest.skip(f"there is no {tool}")
    found = [on_another_host(name) for name in ("north", "south")]
    tried = subprocess.run([*found[0], "hostname"], capture_output=True)
    if tried.stdout != b"north\n":
        pytest.skip(f"no namespaces here: {tried.stderr.decode()}")
    return found


def test_two_hosts_that_share_only_the_directories(hall: Place, hosts: list[list[str]]) -> None:
    """Neither sees the processes of the other; a worker that dies is restarted on its host."""
    count = max(40, JOBS // 4)
    chance = random.Random(7)
    with Workers(hall, user=SERVICE) as workers, Workers(RemoteExecutor(hall)) as others:
        make_project(hall, workers)
        jobs = drop(hall, requests(hall, count))
        living = {number: others.start(before=host) for number, host in enumerate(hosts)}
        kills, deadline = 0, time.monotonic() + PATIENCE
        while done(hall, jobs) < count:
            assert time.monotonic() < deadline, f"{done(hall, jobs)} of {count}: {others.output()}"
            time.sleep(chance.uniform(0.1, 0.7))
            if done(hall, jobs) > kills * count / 12:
                number = chance.randrange(2)
                kill(living[number])
                kills += 1
                living[number] = others.start(before=hosts[number])
        for process in living.values():
            kill(process)
        assert kills
        check_each_was_done_once(hall, jobs, count)
        check_all_are_valid(hall, workers, count)
    check_nothing_is_left(hall)


class RemoteExecutor(Place):
    """The same place, with the logs in a directory of their own."""

    def __init__(self, place: Place) -> None:
        self.staging, self.registry = place.staging, place.registry
        self.top = Path(place.top, "elsewhere")
        self.top.mkdir()
