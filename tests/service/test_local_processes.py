"""Local processes of a service, and of a program: the same versions, whatever is killed."""

from __future__ import annotations

import http.client
import os
import signal
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import requests

from gobbler.errors import Refused
from gobbler.model.progress import ProgressCounter
from gobbler.service.context import InProcess
from gobbler.service.settings import Settings
from gobbler.transfer import dispatch
from gobbler.transfer.pool_share import PoolShare

from .processes import (
    Place,
    Running,
    is_alive,
    own_name,
    public_place,
    shared_place,
    upload_of,
    wait_for,
)

__all__ = ["public_place", "shared_place"]

FILES: dict[str, bytes | int] = {f"d{n % 3}/f{n}": str(n).encode() * n for n in range(40)}

CONSTANTS = {
    "gobbler.transfer.dispatch:MANY_FILES": 8,
    "gobbler.transfer.dispatch:MIN_BATCH_FILES": 2,
    "gobbler.transfer.local_pool:RETRY_SECONDS": 0.0,
    "gobbler.transfer.pool_share:CANCEL_SECONDS": 0.5,
}


def version(number: int) -> dict[str, Any]:
    return {"project": "p", "asset": "a", "version": str(number)}


def settings_of(place: Place, processes: int) -> Settings:
    admins = frozenset([own_name()])
    return Settings(str(place.staging), str(place.registry), admins, processes=processes)


def tree_of(directory: Path) -> dict[str, Any]:
    """What is in a directory: modes, texts of links, contents."""
    found: dict[str, Any] = {}
    for path in sorted(directory.rglob("*")):
        name = str(path.relative_to(directory))
        if path.name != "..summary":
            mode = path.lstat().st_mode
            content = (
                os.readlink(path) if path.is_symlink() else path.is_file() and path.read_bytes()
            )
            found[name] = mode, content
    return found


@pytest.mark.parametrize("processes", [0, 2])
def test_a_program_publishes_the_same_with_and_without_processes(
    public_place: Place, monkeypatch: pytest.MonkeyPatch, processes: int
) -> None:
    place, sent = public_place, []
    real = PoolShare.submit

    def submit(share: PoolShare, *args: Any) -> Any:
        future = real(share, *args)
        sent.append(future is not None)
        return future

    monkeypatch.setattr(PoolShare, "submit", submit)
    monkeypatch.setattr(dispatch, "MANY_FILES", 8)
    monkeypatch.setattr(dispatch, "MIN_BATCH_FILES", 2)
    source = place.stage({**FILES, "long": 20_000_000, "empty": b""})
    with InProcess(settings_of(place, processes)) as site:
        site.carry_out("create_project", {"project": "p"})
        if processes:
            _await_pool(site)
        progress = ProgressCounter()
        site.carry_out("upload", {**version(1), "source": source}, progress=progress)
        assert progress.files == len(FILES) + 2
        site.carry_out("upload", {**version(2), "source": source})
        (place.staging / source / "d1/f1").write_bytes(b"changed")
        site.carry_out("upload", {**version(3), "source": source})
        for number in (1, 2, 3):
            site.carry_out("validate_version", version(number))
        before = tree_of(place.registry / "p/a/1")
        (place.registry / "p/a/1/..manifest").unlink()
        site.carry_out("reindex_version", version(1))
        assert tree_of(place.registry / "p/a/1") == before
        site.carry_out("upload", {**version(4), "source": source, "consume": True})
        assert not [path for path in (place.staging / source).rglob("*") if path.is_file()]
        (place.registry / "p/a/1/d0/f3").write_bytes(b"?")
        with pytest.raises(Refused, match="d0/f3"):
            site.carry_out("validate_version", version(1))
    assert (any(sent) and all(sent[:2])) == bool(processes)
    first, second = (place.read(f"p/a/{number}/..manifest") for number in (1, 2))
    assert set(first) == {*FILES, "long", "empty"}
    assert all("link" in second[path] for path in FILES)
    for path, content in FILES.items():
        for number in (2, 3, 4):
            if path not in ("d0/f3", "d1/f1"):
                assert (place.registry / f"p/a/{number}" / path).read_bytes() == content


def _await_pool(site: InProcess) -> None:
    pool = site._own.pool  # type: ignore[union-attr]
    pool.join()
    pool.leave()
    wait_for("the pool", lambda: pool.mother is not None)


@pytest.fixture(scope="module")
def running(shared_place: Place) -> Iterator[Running]:
    flags = ("--processes=2", "--concurrency=1", "--jobs=0", "--grace=0")
    with Running(shared_place, *flags, constants=CONSTANTS) as running:
        running.succeed("create_project", {"project": "p"})
        running.succeed("upload", {**version(0), "source": shared_place.stage(FILES)})
        yield running


class Family:
    """A mother of local processes, and these."""

    def __init__(self, running: Running) -> None:
        self.running = running

        def look() -> bool:
            answer = running.ask("validate_version", version(0))
            assert answer.status_code == 200
            self.all = {p for p in running.processes() if b"pool_process" in command_of(p)}
            # One that was just forked does not end with its mother yet; then none sleeps.
            return len(self.all) == 3 and all(map(sleeps, self.all))

        wait_for("a mother with two children", look)
        self.mother = min(self.all, key=lambda process: process not in parents_of(self.all))
        self.children = self.all - {self.mother}

    def signal(self, number: int) -> None:
        for child in self.children:
            os.kill(child, number)


def command_of(process: int) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{process}/cmdline").read_bytes()
    return b""


def sleeps(process: int) -> bool:
    with suppress(OSError):
        text = Path(f"/proc/{process}/stat").read_text()
        return text.rpartition(")")[2].split()[0] == "S"
    return False


def parents_of(processes: set[int]) -> set[int]:
    found = set()
    for process in processes:
        text = Path(f"/proc/{process}/stat").read_text()
        found.add(int(text.rpartition(")")[2].split()[1]))
    return found


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as threads:
        yield threads


class Uploading:
    """An upload whose batches two stopped processes have."""

    def __init__(self, running: Running, number: int, threads: ThreadPoolExecutor) -> None:
        self.family = Family(running)
        self.family.signal(signal.SIGSTOP)
        source = running.place.stage({**FILES, "own": os.urandom(9)})
        name = running.place.write_request("upload", upload_of(source, str(number)))
        self.answer: Future[requests.Response] = threads.submit(running.post, name)
        wait_for("a tree", lambda: list((running.place.registry / "..incoming").glob("*/tree/d0")))


@pytest.mark.parametrize("victim", ["child", "children", "mother"])
def test_an_upload_outlives_its_local_processes(
    running: Running, threads: ThreadPoolExecutor, victim: str
) -> None:
    number = ["child", "children", "mother"].index(victim) + 1
    uploading = Uploading(running, number, threads)
    family = uploading.family
    if victim == "child":
        first, *others = family.children
        os.kill(first, signal.SIGKILL)
        for other in others:
            os.kill(other, signal.SIGCONT)
    elif victim == "children":
        family.signal(signal.SIGKILL)
    else:
        os.kill(family.mother, signal.SIGKILL)
    assert uploading.answer.result().status_code == 200, uploading.answer.result().text
    running.succeed("validate_version", version(number))
    assert running.place.incoming() == []
    wait_for("their end", lambda: not any(map(is_alive, family.all)))


def test_a_client_that_leaves_does_not_wait_for_a_stopped_process(
    running: Running, threads: ThreadPoolExecutor
) -> None:
    family = Family(running)
    family.signal(signal.SIGSTOP)
    source = running.place.stage(FILES)
    name = running.place.write_request("upload", upload_of(source, "8"))
    connection = running.begin(name)
    incoming = running.place.registry / "..incoming"
    wait_for("a tree", lambda: list(incoming.glob("*/tree/d0")))
    connection.close()
    wait_for("the rollback", lambda: running.place.incoming() == [])
    assert not (running.place.registry / "p/a/8").exists()
    wait_for("their end", lambda: not any(map(is_alive, family.all)))


def test_the_local_processes_end_with_their_worker_and_the_upload_is_undone(
    running: Running, threads: ThreadPoolExecutor
) -> None:
    uploading = Uploading(running, 9, threads)
    (worker,) = parents_of({uploading.family.mother})
    os.kill(worker, signal.SIGKILL)
    with pytest.raises((requests.ConnectionError, http.client.HTTPException)):
        uploading.answer.result()
    wait_for("their end", lambda: not any(map(is_alive, uploading.family.all)))
    assert not (running.place.registry / "p/a/9").exists()
    wait_for("a new worker", running._answers)
    running.succeed("upload", {**version(9), "source": running.place.stage(FILES)})


def test_a_service_that_stops_leaves_no_process(
    public_place: Place, threads: ThreadPoolExecutor
) -> None:
    flags = ("--processes=2", "--concurrency=1", "--jobs=0", "--grace=0")
    with Running(public_place, *flags, constants=CONSTANTS) as running:
        running.succeed("create_project", {"project": "p"})
        running.succeed("upload", {**version(0), "source": public_place.stage(FILES)})
        uploading = Uploading(running, 1, threads)
        everything = running.processes()
        assert running.terminate() == 0
        assert uploading.answer.result().status_code == 500
        wait_for("their end", lambda: not any(map(is_alive, everything)))
    assert public_place.incoming() == []
    assert not (public_place.registry / "p/a/1").exists()
