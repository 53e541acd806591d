"""A service, its workers and clients while something removes ``..spool`` and ``..requests``."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from functools import partial
from pathlib import Path

from gobbler.client import Client
from gobbler.fs.layout import staging_directories

from .processes import Place, Running, public_place, upload_of, wait_for
from .spools import SERVICE, Workers, answer_of, ask, hall, in_jobs, spool, state_of, submit

__all__ = ["hall", "public_place"]


def remove(place: Place, *names: str) -> None:
    for name in names:
        # A worker may make it anew while it is being removed.
        shutil.rmtree(place.staging / name, ignore_errors=True)


def is_complete(place: Place) -> bool:
    return all(os.path.exists(path) for path, _ in staging_directories(str(place.staging)))


def test_a_worker_makes_its_spool_anew_and_goes_on(hall: Place) -> None:
    with Workers(hall, user=SERVICE) as workers:
        workers.ready(workers.start())
        assert ask(hall, None, "create_project", {"project": "p"})["status"] == "SUCCESS"
        for names in (("..spool",), ("..requests",), ("..spool", "..requests")):
            remove(hall, *names)
            wait_for("all is there again", partial(is_complete, hall))
            assert ask(hall, None, "health_check", {})["status"] == "SUCCESS"
        modes = {path.name: path.stat().st_mode & 0o7777 for path in spool(hall).iterdir()}
        assert modes == {"tmp": 0o1733, "new": 0o1733, "cur": 0o711, "jobs": 0o700}
        assert workers.output().count("something has removed it") >= 4
        assert "Traceback" not in workers.output()


def test_a_job_that_runs_meanwhile_is_answered_and_done_once(hall: Place) -> None:
    with Workers(hall, "--concurrency=1", user=SERVICE) as workers:
        workers.ready(workers.start())
        assert ask(hall, None, "create_project", {"project": "p"})["status"] == "SUCCESS"
        source = hall.stage({"large": 1 << 30}, os.geteuid())
        job = submit(hall, None, "upload", upload_of(source))
        wait_for("it runs", lambda: state_of(hall, job).get("state") == "running")
        remove(hall, "..spool", "..requests")
        wait_for("it has its record again", lambda: f"{job}.1.job" in safe_list(hall), 60)
        assert f"{job}.lock" in safe_list(hall)
        second = workers.start()
        workers.ready(second)
        assert answer_of(hall, job, patience=90)["status"] == "SUCCESS"
        wait_for("nothing is left", lambda: in_jobs(hall) == [] and hall.incoming() == [])
        assert hall.read("p/..usage") == {"total": 1 << 30}
        assert workers.output().count('"request-upload') <= 1


def safe_list(place: Place) -> list[str]:
    try:
        return in_jobs(place)
    except FileNotFoundError:
        return []


def test_requests_over_http_are_answered_and_not_repeated(hall: Place) -> None:
    with Running(hall, user=SERVICE) as service:
        client = Client(url=service.url, staging=str(hall.staging), registry=str(hall.registry))
        client.admin.create_project("p")
        stop, errors = threading.Event(), []

        def keep_asking() -> None:
            while not stop.is_set():
                try:
                    client.project("p").set_permissions(owners=["root"])
                except Exception as error:  # noqa: BLE001 - the test shows it
                    errors.append(error)

        thread = threading.Thread(target=keep_asking)
        thread.start()
        for _ in range(5):
            remove(hall, "..requests")
            wait_for("it is there again", (hall.staging / "..requests").exists)
            time.sleep(0.2)
        stop.set()
        thread.join(60)
        assert errors == []
        name = "request-health_check-again"
        (hall.staging / name).write_text("{}")
        assert service.post(name).status_code == 200
        remove(hall, "..requests")
        refused = service.post(name)
        assert (refused.status_code, refused.json()["code"]) == (400, "expired-request")
        (hall.staging / name).unlink()


def test_a_spool_that_a_user_puts_in_its_place_is_not_believed(hall: Place) -> None:
    """He makes a record that says that it is the administrator's."""
    with Workers(hall, user=SERVICE) as workers:
        workers.ready(workers.start())
        forged = hall.top / "forged"
        for name in ("tmp", "new", "cur", "jobs"):
            (forged / name).mkdir(parents=True)
        record = {
            "job": "0-request-create_project-x",
            "task": "..0123456789abcdef-task",
            "uid": 0,
            "user": "root",
            "name": "request-create_project-x",
            "data": "eyJwcm9qZWN0IjogImZvcmdlZCJ9",
            "submitted": "2026-11-20T09:15:02+01:00",
        }
        (forged / "jobs/0-request-create_project-x.0.job").write_text(json.dumps(record))
        for path in (forged, *forged.rglob("*")):
            path.chmod(0o777)
            os.chown(path, 12345, 12345)
        workers.processes[0].send_signal(signal.SIGSTOP)  # else it is faster
        os.rename(spool(hall), hall.top / "away")
        os.rename(forged, spool(hall))
        workers.processes[0].send_signal(signal.SIGCONT)
        wait_for("it says so", lambda: "not a directory of the service's" in workers.output(), 90)
        time.sleep(1)
        assert not (hall.registry / "forged").exists()
        assert Path(spool(hall) / "jobs/0-request-create_project-x.0.job").exists()
        os.rename(spool(hall), forged)
        wait_for("its own is there", partial(is_complete, hall))
        assert ask(hall, None, "health_check", {})["status"] == "SUCCESS"
