"""``--dask``: batches are run by a real cluster, whose processes die, hang and disagree."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from gobbler.client.testing import HOST, ReservedPort
from gobbler.cluster import dask as module
from gobbler.cluster.dask import DaskExecutor, check_cluster
from gobbler.errors import Misconfigured

from .clusters import NEVER, DaskCluster, makes_files_below
from .commands import on_terminal
from .processes import (
    Place,
    Running,
    account,
    public_place,
    run_as,
    upload_of,
    wait_for,
)

__all__ = ["public_place"]

LARGE = 12 << 20
OTHERS = "gtalice"


@pytest.fixture
def cluster(public_place: Place) -> Iterator[DaskCluster]:
    with DaskCluster(public_place.top) as made:
        yield made


def serve(place: Place, cluster: DaskCluster, **variables: str) -> Running:
    service = Running(
        place,
        f"--dask={cluster.address}",
        "--concurrency=4",
        "--jobs=1",
        variables=variables,
    )
    service.succeed("create_project", {"project": "p"})
    return service


def many_files(seed: int = 0) -> dict[str, bytes | int]:
    """Enough for several batches, each of which takes a moment."""
    small = {f"d{i % 7}/f{i}": f"{seed} {i}".encode() * 50 for i in range(600)}
    large = {f"d{i % 7}/large{i}": LARGE + i for i in range(8)}
    return {**small, **large}


def check_published(place: Place, files: dict[str, bytes | int], version: str = "1") -> None:
    top = place.registry / "p/a" / version
    found = {str(p.relative_to(top)) for p in top.rglob("*") if p.is_file()}
    assert {path for path in found if ".." not in path} == set(files)
    for path, content in files.items():
        status = (top / path).stat()
        assert (status.st_nlink, status.st_mode & 0o777) == (1, 0o644)
        if isinstance(content, bytes):
            assert (top / path).read_bytes() == content
        else:
            assert status.st_size == content


class InBackground:
    """A request whose answer comes while the test does something else."""

    def __init__(self, service: Running, action: str, payload: object) -> None:
        self._service = service
        self.answer: Any = None
        self._thread = threading.Thread(target=self._ask, args=(action, payload))
        self._thread.start()

    def _ask(self, action: str, payload: object) -> None:
        self.answer = self._service.ask(action, payload)

    def succeed(self) -> None:
        self._thread.join(60)
        assert self.answer is not None, self._service.output()
        assert self.answer.status_code == 200, self.answer.text


def check_links(service: Running, files: dict[str, bytes | int]) -> None:
    """What is known is linked to, also under other names; and copied when the first goes."""
    place = service.place
    moved = {f"moved/{path}": content for path, content in files.items()}
    service.succeed("upload", upload_of(place.stage(moved), "2"))
    manifest = place.read("p/a/2/..manifest")
    assert set(manifest) == set(moved)
    assert all("link" in entry for entry in manifest.values())
    doomed = {"project": "p", "asset": "a", "version": "1"}
    changes = service.succeed("reroute_links", {"to_delete": [doomed]})["changes"]
    assert sum(change["copy"] for change in changes) == len(files)
    service.succeed("delete_version", doomed)
    service.succeed("validate_version", {**doomed, "version": "2"})


class Patience:
    """For how many seconds a service waits for a worker without progress: until the test says so.

    Whoever waits is told after a second.
    """

    def __init__(self, top: Path) -> None:
        self._path = top / "patience"
        self.set(1000)
        directory = top / "custom"
        directory.mkdir()
        (directory / "sitecustomize.py").write_text(
            "import pathlib\n"
            "from gobbler.transfer import straggler\n"
            f"path = pathlib.Path({str(self._path)!r})\n"
            "straggler.TOLD_SHARE = 0.001\n"
            "straggler.Stragglers.limit = lambda self: float(path.read_text())\n"
        )
        self.variables = {"PYTHONPATH": str(directory)}

    def set(self, seconds: float) -> None:
        atomic = self._path.with_suffix(".new")
        atomic.write_text(str(seconds))
        atomic.rename(self._path)


class Audience:
    """Everybody who waits for a job, told by every means."""

    def __init__(self, service: Running, threads: ThreadPoolExecutor, source: str) -> None:
        place = service.place
        self._service, self._threads = service, threads
        self._environment = {
            "GOBBLER_URL": service.url,
            "GOBBLER_STAGING": str(place.staging),
            "GOBBLER_REGISTRY": str(place.registry),
        }
        words = ("upload", place.staging / source, "p/a/1")
        self._upload = threads.submit(on_terminal, *words, **self._environment)
        self._log = place.top / "followed"

    def gobbler(self, *words: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "gobbler", *words]
        with self._log.open("w") as log:
            return subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=os.environ | self._environment,
            )

    def hear(self, process: int) -> str:
        """What each is told while that worker hangs."""
        (job,) = self._jobs()
        url = f"{self._service.url}/jobs/{job}"

        def told() -> str:
            note = str(requests.get(url, timeout=60).json()["progress"].get("waits_for", ""))
            return note if f"process {process} on" in note else ""

        self._note = wait_for("a note", told)
        shown = self.gobbler("jobs", "show", job)
        assert self._note in shown.communicate(timeout=60)[0]
        self._follow = self.gobbler("jobs", "follow", job)
        wait_for("a note to the one who follows", lambda: self._note in self._log.read_text())
        self._events = requests.get(f"{url}/events", stream=True, timeout=60)
        return self._note

    def _jobs(self) -> list[str]:
        found = self._service.succeed("list_jobs", {})["jobs"]
        return [job["job"] for job in found if job["action"] == "upload"]

    def end(self) -> None:
        """Each has been told once, and that the job is done."""
        code, shown = self._upload.result(60)
        assert code == 0, shown
        assert shown.count(self._note) == 1
        assert "done" in self._follow.communicate(timeout=60)[0]
        assert self._log.read_text().count(self._note) == 1
        first, *_, last = self._events.text.strip().split("\n\n")
        assert self._note in first
        assert last.startswith("event: done")
        assert self._note not in last


def test_a_worker_is_killed_and_another_hangs_in_mid_upload(public_place: Place) -> None:
    place = public_place
    files = many_files()
    is_at_work = makes_files_below(place.registry)
    patience = Patience(place.top)
    with (
        DaskCluster(place.top, worker_ttl=NEVER) as cluster,
        serve(place, cluster, **patience.variables) as service,
        ThreadPoolExecutor(1) as threads,
    ):
        cluster.start_workers(3, umask="077")
        audience = Audience(service, threads, place.stage(files))
        killed = cluster.stop_one_at_work(is_at_work)
        hanging = cluster.stop_one_at_work(is_at_work, besides=killed.pid)
        killed.kill()
        audience.hear(hanging.pid)
        patience.set(1)
        audience.end()
        assert f"the worker process {hanging.pid} on " in service.output()
        check_published(place, files)
        # The worker that hung continues with a batch that is no longer wanted.
        patience.set(15)
        hanging.send_signal(signal.SIGCONT)
        wait_for("the end of its batch", lambda: not is_at_work(hanging.pid))
        version = {"project": "p", "asset": "a", "version": "1"}
        service.succeed("validate_version", version)
        service.succeed("reindex_version", version)
        service.succeed("validate_version", version)
        check_published(place, files)
        check_links(service, files)
        wait_for("nothing that is left behind", lambda: not place.incoming())
        assert "batches run in the Dask cluster" in service.output()
        assert "instead of the Dask cluster" not in service.output(), "it was used to the end"
        assert service.terminate() == 0, service.output()


def leave_while_a_worker_hangs(
    service: Running, cluster: DaskCluster, files: dict[str, bytes | int]
) -> None:
    """The request ends, and its worker once it can; others are served meanwhile."""
    place = service.place
    is_at_work = makes_files_below(place.registry)
    name = place.write_request("upload", upload_of(place.stage(files)))
    connection = service.begin(name)
    hanging = cluster.stop_one_at_work(is_at_work)
    connection.close()
    wait_for("the end of the request", lambda: not place.incoming())
    hanging.send_signal(signal.SIGCONT)
    wait_for("the end of the batch", lambda: not any(is_at_work(w.pid) for w in cluster.workers))
    assert not (place.registry / "p/a").exists()


def test_the_scheduler_is_killed_in_mid_upload(public_place: Place, cluster: DaskCluster) -> None:
    place = public_place
    cluster.start_workers(2)
    files = many_files()
    with serve(place, cluster) as service:
        leave_while_a_worker_hangs(service, cluster, files)
        upload = InBackground(service, "upload", upload_of(place.stage(files)))
        stopped = cluster.stop_one_at_work(makes_files_below(place.registry))
        cluster.scheduler.kill()
        upload.succeed()
        check_published(place, files)
        assert "this process runs" in service.output()
        stopped.send_signal(signal.SIGCONT)
        service.succeed("upload", upload_of(place.stage(many_files(1)), "2"))
        check_published(place, many_files(1), "2")
        wait_for("nothing that is left behind", lambda: not place.incoming())


def test_a_cluster_that_is_not_there_is_not_needed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr(module, "SCHEDULER_CONNECT_SECONDS", 0.2)
    with ReservedPort() as port:
        address = f"tcp://{HOST}:{port.number}"
        check_cluster(address)
        assert "no Dask scheduler answers" in caplog.text
        with DaskExecutor(address, ThreadPoolExecutor(2)) as cluster:
            assert [cluster.submit(abs, -number).result(30) for number in range(3)] == [0, 1, 2]
            failed = cluster.submit(abs, "x").exception(30)
    assert isinstance(failed, TypeError)
    assert caplog.text.count("can't be used, so batches run in this process") == 1


def test_a_cluster_without_workers_is_waited_for_and_then_not_needed_until_it_has_one(
    cluster: DaskCluster, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "NO_WORKER_SECONDS", 1.0)
    caplog.set_level("INFO", module.logger.name)
    with DaskExecutor(cluster.address, ThreadPoolExecutor(2)) as executor:
        assert executor.submit(abs, -1).result(30) == 1
        assert "it has no worker" in caplog.text
        assert executor.submit(abs, -2).result(30) == 2
        cluster.start_workers(1)
        monkeypatch.setattr(module, "NO_WORKER_SECONDS", 60.0)
        wait_for("the use of the worker", lambda: "again" in caplog.text)
        assert executor.submit(os.getpid).result(30) == cluster.workers[0].pid
        monkeypatch.setattr(module, "RESULT_SECONDS", 0.5)
        result = executor.submit(hangs_with_its_result()).result(30)
        assert type(result).__name__ == "Hanging"
        assert "does not hand over its result" in caplog.text


def hangs_with_its_result() -> Callable[[], object]:
    """A function after which the worker stops, in the midst of handing over the result."""

    class Hanging:
        def __reduce__(self) -> tuple[type[int], tuple[str]]:
            os.kill(os.getpid(), signal.SIGSTOP)
            return int, ("1",)

    def batch() -> object:
        return Hanging()

    return batch


def test_a_worker_of_another_account_is_reported(public_place: Place, cluster: DaskCluster) -> None:
    place = public_place
    account(OTHERS)
    cluster.start_workers(1, user=OTHERS)
    with serve(place, cluster) as service:
        answer = service.ask("upload", upload_of(place.stage(many_files())))
        assert answer.status_code == 500
        reason = answer.json()["reason"]
        assert f'runs as "{OTHERS}", the service as' in reason
        assert "Start the workers as the account of the service" in reason
        assert not (place.registry / "p/a").exists()
        wait_for("nothing that is left behind", lambda: not place.incoming())


@pytest.mark.parametrize("address", ["host:8786", "tcp://host", "tcp://host:99999", "http://h:1"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(Misconfigured, match="is not the address of a Dask scheduler"):
        check_cluster(address)


def test_without_the_package_it_is_refused_at_the_start(
    public_place: Place, tmp_path: Path
) -> None:
    place = public_place
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['distributed'] = None\n")
    command = run_as(
        None,
        f"--staging={place.staging}",
        f"--registry={place.registry}",
        "--dask=tcp://127.0.0.1:8786",
    )
    command["env"] = {**os.environ, "PYTHONPATH": str(tmp_path)}
    ended = subprocess.run(**command, capture_output=True, text=True, timeout=60)
    assert ended.returncode not in (0, 2)
    assert "pip install 'gobbler-registry[dask]'" in ended.stderr
