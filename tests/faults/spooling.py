"""A spool beside a small registry, and a worker that takes one step after the other."""

from __future__ import annotations

import json
import os
import pwd
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec import UNSET

from gobbler.fs.flush import Durability
from gobbler.fs.layout import staging_directories
from gobbler.model.jobs import JobState, job_name
from gobbler.model.requests import CancelJob
from gobbler.service.metrics.metrics import Metrics
from gobbler.service.scheduler import Scheduler
from gobbler.spool.job_store import JobRecord
from gobbler.spool.spool import Spool

from .operations import PLAIN, PLAIN_SOURCE, of_version, plant
from .world import ADMIN, World

ME = pwd.getpwuid(os.geteuid()).pw_name
UPLOAD = {**of_version("9"), "source": "source"}
NAME = "request-upload-one"
JOB = job_name(os.geteuid(), NAME)
METRICS = Metrics()


def prepare(world: World) -> None:
    """A project of the present user, a source, and the directories of a spool."""
    world.make()
    world.act("create_project", {"project": "p", "permissions": {"owners": [ME]}}, ADMIN)
    plant(world.staging / "source", PLAIN_SOURCE)
    for path, mode in staging_directories(str(world.staging)):
        os.mkdir(path)
        os.chmod(path, mode)


def spool_of(world: World) -> Spool:
    return Spool(str(world.staging), Durability.FULL)


def put(world: World, payload: object = UPLOAD, name: str = NAME) -> Path:
    """Do what a user does: write into ``tmp``, rename to ``new``."""
    spool = spool_of(world)
    written = Path(spool.tmp, name)
    written.write_bytes(payload if isinstance(payload, bytes) else json.dumps(payload).encode())
    return written.rename(Path(spool.new, name))


def keep(world: World) -> None:
    """Do what the HTTP service does for a request that is not waited for."""
    data = json.dumps(UPLOAD).encode()
    spool_of(world).accept(JobRecord.of(os.geteuid(), ME, NAME, data))


def work(world: World, looks: int = 3) -> None:
    """Be a worker for as long as it takes to do what waits; one call after the other."""
    worker = Scheduler(world.service, f"{world.staging}/..requests", 2, METRICS)
    for _ in range(looks):
        worker.refresh()
        for lane in worker._lanes:
            while worker.take(lane):
                for thread in tuple(lane.threads.values()):
                    thread.join()


@dataclass(frozen=True)
class Scene:
    """What waits in the spool, and how it must end: ``done``, ``failed`` or ``cancelled``."""

    name: str
    set_up: Callable[[World], object]
    ends: str
    reason: str = ""

    def __str__(self) -> str:
        return self.name.replace(" ", "-")


def _cancelled(world: World) -> None:
    put(world)
    spool_of(world).cancel(CancelJob(JOB).job, os.geteuid())


def _again(world: World) -> None:
    """A request of the same name was answered before."""
    put(world, {"project": "none", "asset": "a", "version": "1", "source": "source"})
    work(world)
    assert state(world).state == "failed"
    put(world)


def _fifo(world: World) -> None:
    os.mkfifo(Path(spool_of(world).new, NAME))


SCENES = (
    Scene("an upload", put, "done"),
    Scene("kept by the HTTP service", keep, "done"),
    Scene("a name that was used before", _again, "done"),
    Scene("cancelled while it waits", _cancelled, "cancelled", "the job was cancelled"),
    Scene("an upload to nowhere", lambda w: put(w, {**UPLOAD, "project": "q"}), "failed", "q"),
    Scene("no JSON", lambda w: put(w, b"whatever"), "failed", "not valid"),
    Scene("a FIFO", _fifo, "failed", "is a FIFO"),
)


def state(world: World) -> JobState:
    return spool_of(world).answers.state(JOB)


def problems(world: World, scene: Scene) -> list[str]:
    """What is wrong after a worker that nothing has disturbed had its turn."""
    found = []
    ended = state(world)
    answer: Any = ended.answer
    if answer is UNSET:
        return [f"it is still {ended.state}"]
    if ended.state != scene.ends or scene.reason not in answer.get("reason", ""):
        found.append(f"it has ended as {ended.state}: {answer}")
    if (ended.state == "done") != (answer["status"] == "SUCCESS"):
        found.append(f"{ended.state}, but the answer is {answer}")
    if is_published(world) != (ended.state == "done"):
        found.append(f"{ended.state}, but p/a/9 {'is' if is_published(world) else 'is not'} there")
    if is_published(world) and world.content("p/a/9") != PLAIN:
        found.append("the content is another")
    return found + leftovers(world)


def is_published(world: World) -> bool:
    return (world.registry / "p/a/9").exists()


def leftovers(world: World) -> list[str]:
    """What nobody needs any more, and recovery does not remove."""
    spool = spool_of(world)
    spool.recover(time.time() + 1)
    world.recover()
    found = [f"{name} is left in jobs" for name in os.listdir(spool.records.directory)]
    found += [f"{name} is left in new" for name in os.listdir(spool.new)]
    found += [f"{name} is left in ..incoming" for name in world.incoming()]
    return found + [
        f"{name} is left in cur"
        for name in os.listdir(spool.cur)
        if name == JOB or not (name.startswith(JOB) or is_set_aside(Path(spool.cur, name)))
    ]


def is_set_aside(path: Path) -> bool:
    return "-refused-" in path.name and not stat.S_ISDIR(path.lstat().st_mode)
