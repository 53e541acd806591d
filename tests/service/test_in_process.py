"""Requests and workers with an executor of the administrator's own, started from Python."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

import pytest

from gobbler.client import Client
from gobbler.errors import Forbidden, Refused
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


WORKER = """
import multiprocessing, sys
from concurrent.futures import ProcessPoolExecutor
from gobbler.service.settings import Settings
from gobbler.service.worker_process import work

if __name__ == "__main__":
    staging, registry, admin = sys.argv[1:]
    settings = Settings(staging, registry, frozenset([admin]), jobs=2)
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as executor:
        work(settings, executor=executor)
"""


def test_a_worker_with_an_executor_of_ones_own(public_place: Place) -> None:
    place = public_place
    script = place.top / "worker.py"
    script.write_text(WORKER)
    source = place.staging / place.stage({f"f{i}": b"x" * 3000 for i in range(2000)})
    log = place.top / "log"
    with log.open("wb") as output:
        worker = subprocess.Popen(
            [sys.executable, script, place.staging, place.registry, own_name()],
            stderr=output,
            env={**os.environ},
        )
    try:
        client = Client(staging=place.staging, registry=place.registry)
        wait_for("a worker that works", lambda: "carries out the jobs" in log.read_text())
        client.admin.create_project("p")
        client.upload("p", "a", "1", source)
        client.admin.validate_version("p", "a", "1")
        assert len(place.read("p/a/1/..manifest")) == 2000
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(30) == 0, log.read_text()
        assert "stopped" in log.read_text()
    finally:
        worker.kill()
        worker.wait()
