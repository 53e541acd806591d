"""Requests and workers with an executor of the administrator's own, started from Python."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gobbler.client import Client
from gobbler.errors import Code, Fault, Forbidden, Refused
from gobbler.service.context import InProcess
from gobbler.service.settings import Settings
from gobbler.transfer import dispatch as execute

from .processes import Place, own_name, public_place, wait_for

__all__ = ["public_place"]

VERSION = {"project": "p", "asset": "a", "version": "1"}


@pytest.fixture(autouse=True)
def _nothing_is_light(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execute, "LIGHT_BYTES", -1)


def settings_of(place: Place, *admins: str) -> Settings:
    return Settings(str(place.staging), str(place.registry), frozenset(admins))


def processes() -> Executor:
    return ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn"))


class Counting(Executor):
    """Hands on to another, and counts."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self.count = 0

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        self.count += 1
        return self._executor.submit(fn, *args, **kwargs)


@pytest.mark.parametrize("make", [processes, lambda: ThreadPoolExecutor(2)])
def test_a_version_is_published_and_validated_with_any_executor(
    public_place: Place, make: Any
) -> None:
    place = public_place
    files: dict[str, bytes | int] = {f"d{i % 3}/f{i}": str(i).encode() for i in range(100)}
    source = place.stage(files)
    with (
        make() as real,
        InProcess(settings_of(place, own_name()), counting := Counting(real)) as site,
    ):
        site.carry_out("create_project", {"project": "p"})
        site.carry_out("upload", {**VERSION, "source": source})
        assert counting.count >= 4
        site.carry_out("validate_version", VERSION)
        manifest = place.read("p/a/1/..manifest")
        assert set(manifest) == set(files)
        (place.registry / "p/a/1/d0/f0").write_bytes(b"?")
        with pytest.raises(Refused, match="d0/f0"):
            site.carry_out("validate_version", VERSION)
        site.carry_out("reindex_version", VERSION)
        site.carry_out("validate_version", VERSION)
    assert not place.incoming()


def test_who_is_no_administrator_is_none_in_process(public_place: Place) -> None:
    with (
        InProcess(settings_of(public_place)) as site,
        pytest.raises(Forbidden, match="administrator"),
    ):
        site.carry_out("create_project", {"project": "p"})


class Killed(Counting):
    """Kills a process of the pool before it sends a batch, as the kernel may at any moment."""

    def __init__(self, pool: ProcessPoolExecutor, batch: int) -> None:
        super().__init__(pool)
        self._pool, self._batch = pool, batch

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        if self.count == self._batch:
            os.kill(next(iter(self._pool._processes)), signal.SIGKILL)
            wait_for("the pool notices", lambda: self._pool._broken)
        return super().submit(fn, *args, **kwargs)


def test_a_pool_that_is_broken_says_so_and_changes_nothing(public_place: Place) -> None:
    place = public_place
    source = place.stage({f"f{i}": str(i).encode() for i in range(200)})
    settings = settings_of(place, own_name())
    with processes() as pool, InProcess(settings, Killed(pool, 5)) as site:
        site.carry_out("create_project", {"project": "p"})
        for _ in range(2):  # it stays broken
            with pytest.raises(Fault, match="is broken") as caught:
                site.carry_out("upload", {**VERSION, "source": source})
            assert caught.value.code == Code.EXECUTOR_BROKEN
            assert "memory" in caught.value.hint
    assert not place.incoming()
    assert not (place.registry / "p/a/1").exists()
    with processes() as pool, InProcess(settings, pool) as site:
        site.carry_out("upload", {**VERSION, "source": source})


WORKER = """
if __name__ == "__main__":  # the processes of the pool load this file, too
    import sys
    from gobbler.service.settings import Settings
    from gobbler.service.worker_process import work
    from tests.service.test_in_process import Killed, processes

    staging, registry, admin, batch = sys.argv[1:]
    settings = Settings(staging, registry, frozenset([admin]), jobs=2)
    with processes() as pool:
        work(settings, executor=Killed(pool, int(batch)) if batch != "never" else pool)
"""


class Worker:
    """A worker with a pool of its own, of which a process is killed before a batch, or never."""

    def __init__(self, place: Place, batch: str) -> None:
        self.log = place.top / f"log-{batch}"
        script = place.top / "worker.py"
        script.write_text(WORKER)
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, script, place.staging, place.registry, own_name(), batch],
                stderr=output,
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            )

    def __enter__(self) -> Worker:
        wait_for("a worker that works", lambda: "carries out the jobs" in self.log.read_text())
        return self

    def __exit__(self, *exception: object) -> None:
        self.process.kill()
        self.process.wait()


@pytest.mark.filterwarnings("ignore::gobbler.client.notices.Waiting")  # while workers start
def test_a_worker_whose_pool_breaks_ends_and_the_next_one_goes_on(public_place: Place) -> None:
    place = public_place
    source = place.staging / place.stage({f"f{i}": b"x" * 3000 for i in range(2000)})
    client = Client(staging=place.staging, registry=place.registry)
    with Worker(place, "7") as worker:  # three are sent at first, and three more at most
        client.admin.create_project("p")
        job = client.submit("p", "a", "1", source)
        assert worker.process.wait(60) == 1, worker.log.read_text()
        last = worker.log.read_text().splitlines()[-1]
        assert last.startswith("gobbler.errors.Fault: the executor is broken"), last
    assert job.state().state == "waiting"
    told = json.loads((place.staging / f"..spool/cur/{job.name}.state").read_bytes())
    assert "another worker" in told["progress"]["waits_for"]
    copies = {
        path.name: path.stat().st_ino for path in place.registry.glob("..incoming/*/*/tree/f*")
    }
    assert copies
    with Worker(place, "never") as worker:
        job.wait(timeout=60)
        client.admin.validate_version("p", "a", "1")
        assert len(place.read("p/a/1/..manifest")) == 2000
        version = place.registry / "p/a/1"
        assert copies.items() <= {p.name: p.stat().st_ino for p in version.iterdir()}.items()
        worker.process.send_signal(signal.SIGTERM)
        assert worker.process.wait(30) == 0, worker.log.read_text()
        assert "stopped" in worker.log.read_text()
