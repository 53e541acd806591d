"""What a service logs: who did what to which version, and nothing alarming about what is usual."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

import pytest

from .processes import (
    ENDLESS,
    Place,
    Running,
    identity,
    interpreter,
    public_place,
    upload_of,
    wait_for,
)
from .spools import ALICE, SERVICE, Workers, ask, drop, hall, submit, uid_of

__all__ = ["hall", "public_place"]


def lines(log: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.splitlines() if line.startswith("{")]


def ended(log: str, action: str) -> dict[str, Any]:
    """The line on the end of the only request for ``action``."""
    (found,) = (line for line in lines(log) if line.get("action") == action)
    return found


@pytest.mark.parametrize("workers", [1, 3])
def test_a_line_says_what_it_is_about_and_an_ordinary_day_alarms_nobody(
    hall: Place, workers: int
) -> None:
    os.chown(hall.staging, uid_of(SERVICE), -1)
    spoof = hall.top / "spoof"
    spoof.write_text(f"root:{ALICE}\n")
    flags = ("--log-format=json", f"--spoof={spoof}", f"--workers={workers}", "--grace=5")
    with Running(hall, *flags, user=SERVICE) as service:
        service.succeed("create_project", {"project": "p", "permissions": {"owners": [ALICE]}})
        source = hall.stage({"f": b"x", "g": b"y"}, os.geteuid())
        service.succeed("upload", {**upload_of(source), "spoof": ALICE, "consume": True})
        assert service.ask("delete_asset", {"project": "p", "asset": ["x"]}).status_code == 400
        job = submit(hall, None, "validate_version", {"project": "p", "asset": "a", "version": "1"})
        wait_for("it ends", lambda: "validate_version" in service.output())
        assert service.terminate() == 0
        log = service.output()
    upload = ended(log, "upload")
    assert upload["message"].endswith(': "p/a/1": done')
    assert f'by root as "{ALICE}": 200 in' in upload["message"]
    expected = {"user": "root", "spoof": ALICE, "project": "p", "asset": "a", "version": "1"}
    assert {name: upload[name] for name in expected} == expected
    assert (upload["status"], upload["level"]) == (200, "info")
    refused = ended(log, "delete_asset")
    assert (refused["project"], refused["status"]) == ("p", 400)
    assert refused["code"]
    assert "asset" not in refused
    assert ended(log, "validate_version")["version"] == "1"
    assert job.endswith(ended(log, "validate_version")["request"])
    assert [line for line in lines(log) if line["level"] not in ("info", "debug")] == []
    assert "removed" not in log


def jobs_command(place: Place, *words: str) -> str:
    """What ``gobbler jobs`` prints for Alice, without HTTP."""
    python, environment = interpreter(ALICE)
    command = [python, "-m", "gobbler", "jobs", *words]
    command += [f"--staging={place.staging}", f"--registry={place.registry}"]
    return subprocess.run(
        command,
        env=environment,
        cwd="/",
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=60,
        **identity(ALICE),
    ).stdout


def test_lists_of_jobs_name_what_they_are_about(hall: Place) -> None:
    """Also of those that still wait in the inbox."""
    with Workers(hall, "--jobs=1", "--concurrency=1", user=SERVICE) as workers:
        workers.ready(workers.start())
        owned = {"project": "p", "permissions": {"owners": [ALICE]}}
        assert ask(hall, None, "create_project", owned)["status"] == "SUCCESS"
        uid = uid_of(ALICE)
        source = hall.stage({"large": ENDLESS}, uid)
        requests = [(uid, f"request-upload-{n}", upload_of(source, f"v{n}")) for n in range(2)]
        jobs = drop(hall, requests)
        listed = lambda: {  # noqa: E731
            job["job"]: job for job in ask(hall, ALICE, "list_jobs", {})["jobs"]
        }
        wait_for("one runs", lambda: "running" in {job["state"] for job in listed().values()})
        found = listed()
        assert {found[job]["state"] for job in jobs} == {"running", "waiting"}
        assert {found[job]["address"] for job in jobs} == {"p/a/v0", "p/a/v1"}
        for words in (["ls"], ["show", jobs[0]], ["show", jobs[1]]):
            shown = jobs_command(hall, *words)
            assert {"p/a/v0", "p/a/v1"} & set(shown.split()) == (
                {"p/a/v0", "p/a/v1"} if words == ["ls"] else {f"p/a/v{words[1][-1]}"}
            )
        for job in jobs:
            ask(hall, ALICE, "cancel_job", {"job": job})
