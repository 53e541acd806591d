"""How a service ends, and what becomes of the requests that it was carrying out."""

from __future__ import annotations

import fcntl
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from .processes import ENDLESS, Place, Running, is_alive, upload_of, wait_for

GIB = 1 << 30

SMALL: dict[str, bytes | int] = {"f": b"content", "d/g": b"more"}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold a lock of the registry, as another service would."""
    with path.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def built(place: Place) -> bool:
    """Whether a version has been built and only waits to be published."""
    return any((place.registry / "..incoming").glob("*/*/..summary")) or any(
        (place.registry / "..incoming").glob("*/*/*/..summary")
    )


def copying(place: Place) -> bool:
    return any(path.stat().st_size for path in (place.registry / "..incoming").glob("*/tree/large"))


def nothing_was_published(place: Place) -> bool:
    left = {p.name for p in (place.registry / "p").iterdir() if "..LOCK" not in p.name}
    return left == {"..permissions", "..usage", "..quota"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_with_nothing_to_do_it_ends_at_once_with_code_0(place: Place, number: int) -> None:
    with Running(place, "--workers=2") as service:
        processes = service.processes()
        assert len(processes) > 2
        service.process.send_signal(number)
        assert service.process.wait(10) == 0
        wait_for("its processes end", lambda: not any(map(is_alive, processes)))
    assert "Traceback" not in service.output()


def test_a_service_without_jobs_ends_with_code_0(place: Place) -> None:
    with Running(place, "--jobs=0") as service:
        service.succeed("health_check", {})
        assert service.terminate() == 0
    assert "Traceback" not in service.output()


RECORD_FORKS = """
import os
def record():
    with open(os.environ["FORKS"], "a") as file:
        file.write(f"{os.getpid()} {len(os.listdir('/proc/self/task'))}\\n")
os.register_at_fork(before=record)
"""
"""Records the process and its number of threads before each fork."""


def test_the_supervisor_forks_in_its_only_thread(place: Place, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(RECORD_FORKS)
    forks = tmp_path / "forks"
    variables = {"PYTHONPATH": str(tmp_path), "FORKS": str(forks)}
    with Running(place, "--workers=2", variables=variables) as service:
        before = service.processes()
        supervisor = str(service.process.pid)

        def threads_at_forks() -> list[str]:
            lines = (line.split() for line in forks.read_text().splitlines())
            return [threads for process, threads in lines if process == supervisor]

        assert threads_at_forks() == ["1", "1", "1"]
        for child in before - {service.process.pid}:
            signal.pidfd_send_signal(pidfd(child), signal.SIGKILL)
        wait_for("all are replaced", lambda: len(service.processes() - before) == 3)
        wait_for("others answer", service._answers)
        service.succeed("health_check", {})
        assert threads_at_forks() == ["1"] * 6
        assert service.terminate() == 0


def test_what_runs_may_finish_within_the_grace_period(place: Place) -> None:
    """Also after Ctrl-C in a terminal, which reaches every process."""
    with Running(place, "--grace=20", "--workers=2") as service:
        service.succeed("create_project", {"project": "p"})
        request = place.write_request("upload", upload_of(place.stage(SMALL)))
        with held(place.registry / "p/..LOCK"):
            connection = service.begin(request)
            wait_for("the version is built", lambda: built(place))
            for process in service.processes():
                os.kill(process, signal.SIGINT)
            time.sleep(1)
            assert service.process.poll() is None
            assert service.ask("health_check", {}).status_code == 503
        assert connection.getresponse().status == 200
        assert service.process.wait(10) == 0
    assert place.read("p/a/..latest") == {"version": "1"}
    assert place.incoming() == []
    assert "ERROR" not in service.output()


def test_what_does_not_is_put_back_and_reported(place: Place) -> None:
    with Running(place, "--grace=0") as service:
        service.succeed("create_project", {"project": "p"})
        source = place.stage({"large": 20 * GIB, **SMALL})
        connection = service.begin(place.write_request("upload", upload_of(source)))
        wait_for("the copy has begun", lambda: copying(place))
        service.process.send_signal(signal.SIGTERM)
        answer = connection.getresponse()
        assert answer.status == 500
        assert b"stopping" in answer.read()
        assert service.process.wait(10) == 0
    assert nothing_was_published(place)
    assert place.incoming() == []
    assert (place.staging / source / "large").stat().st_size == 20 * GIB


def test_killing_the_supervisor_takes_its_workers_with_it(place: Place) -> None:
    with Running(place, "--workers=2") as service:
        processes = service.processes()
        service.process.kill()
        wait_for("its workers end", lambda: not any(map(is_alive, processes)))


def test_a_worker_that_is_killed_is_replaced(place: Place) -> None:
    with Running(place) as service:
        before = service.processes() - {service.process.pid}
        for child in before:
            signal.pidfd_send_signal(pidfd(child), signal.SIGKILL)
        wait_for("another answers", lambda: service._answers() and service.processes() - before)
        service.succeed("health_check", {})
        assert service.terminate() == 0


def test_who_connects_while_no_http_worker_lives_is_answered_by_the_next(place: Place) -> None:
    with Running(place) as service:
        for _ in range(3):
            (worker,) = (
                child
                for child in service.processes() - {service.process.pid}
                if Path(f"/proc/{child}/comm").read_text().startswith("gobbler-http")
            )
            signal.pidfd_send_signal(pidfd(worker), signal.SIGKILL)
            wait_for("it is dead", lambda worker=worker: not is_alive(worker))
            assert requests.get(f"{service.url}/info", timeout=30).ok
        assert service.terminate() == 0


def pidfd(process: int) -> int:
    import os  # noqa: PLC0415 - pidfd_open is Linux's own

    return os.pidfd_open(process)


def test_a_restart_recovers_what_a_kill_has_left(place: Place) -> None:
    with Running(place) as service:
        service.succeed("create_project", {"project": "p"})
        source = place.stage({"large": 20 * GIB, **SMALL})
        connection = service.begin(place.write_request("upload", upload_of(source)))
        wait_for("the copy has begun", lambda: copying(place))
        processes = service.processes()
        service.process.kill()
        wait_for("its workers end", lambda: not any(map(is_alive, processes)))
        connection.close()
    assert place.incoming() != []
    assert nothing_was_published(place)
    with Running(place) as service:
        wait_for("it is swept", lambda: place.incoming() == [])
        (place.staging / source / "large").unlink()
        service.succeed("upload", upload_of(source))
        assert service.terminate() == 0
    assert set(place.read("p/a/1/..manifest")) == set(SMALL)


def gone_within_a_second(service: Running, place: Place) -> None:
    # The promise is one second; a loaded machine gets some more.
    wait_for("nothing is left", lambda: place.incoming() == [], 4)
    assert nothing_was_published(place)
    wait_for("it is logged", lambda: "the client went away" in service.output())
    assert "ERROR" not in service.output()
    service.succeed("health_check", {})


@pytest.fixture
def running(place: Place) -> Iterator[Running]:
    archive = place.top / "archive"
    archive.mkdir()
    with (archive / "large").open("wb") as handle:
        handle.truncate(ENDLESS)
    (place.top / "whitelist").write_text(f"{archive}\n")
    with Running(place, f"--whitelist={place.top}/whitelist") as service:
        service.succeed("create_project", {"project": "p"})
        yield service


def test_a_client_who_goes_away_while_files_are_copied_ends_its_upload(
    running: Running, place: Place
) -> None:
    many = {f"d{i % 50}/{i}": b"x" for i in range(2000)}
    source = place.stage({"large": 20 * GIB, **many})
    connection = running.begin(place.write_request("upload", upload_of(source)))
    wait_for("the copy has begun", lambda: copying(place))
    connection.close()
    gone_within_a_second(running, place)


def test_a_client_who_goes_away_while_a_file_is_hashed_ends_its_upload(
    running: Running, place: Place
) -> None:
    source = place.stage(SMALL)
    (place.staging / source / "kept").symlink_to(place.top / "archive/large")
    connection = running.begin(place.write_request("upload", upload_of(source)))
    wait_for("it has begun", lambda: any((place.registry / "..incoming").glob("*/tree")))
    time.sleep(0.5)
    assert place.incoming() != []
    connection.close()
    gone_within_a_second(running, place)


def test_a_client_who_goes_away_while_a_lock_is_waited_for_ends_its_upload(
    running: Running, place: Place
) -> None:
    request = place.write_request("upload", upload_of(place.stage(SMALL)))
    with held(place.registry / "p/..LOCK"):
        connection = running.begin(request)
        wait_for("the version is built", lambda: built(place))
        time.sleep(0.2)
        connection.close()
        gone_within_a_second(running, place)


def test_others_are_served_while_large_uploads_run(running: Running, place: Place) -> None:
    uploads = []
    for i in range(4):
        payload = upload_of(place.stage({"large": 20 * GIB}), version=f"large{i}")
        uploads.append(running.begin(place.write_request("upload", payload)))
    wait_for("all run", lambda: len(list((place.registry / "..incoming").glob("*/tree"))) == 4)
    done = threading.Event()

    def small() -> None:
        running.succeed("create_project", {"project": "q"})
        running.succeed("upload", upload_of(place.stage(SMALL)))
        done.set()

    other = threading.Thread(target=small, daemon=True)
    other.start()
    assert done.wait(20), "a small upload waits for the large ones"
    for connection in uploads:
        connection.close()
    wait_for("nothing is left", lambda: place.incoming() == [])
