"""Copies in staging that killed and impatient clients leave, and how they go away."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from gobbler.client import staged_copies
from gobbler.client.staged_copies import StagedCopy
from gobbler.client.user_directories import state_directory

from .processes import Running, account, identity, interpreter, public_place, wait_for

__all__ = ["public_place"]

SERVICE, ALICE = "gtservice", "gtalice"


@pytest.fixture(autouse=True)
def _own_state(request, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    if "service" in request.fixturenames:  # other tests that fail leave copies in its staging
        staging = Path(request.getfixturevalue("service").staging)
        for name in left_in(str(staging)):
            subprocess.run(["rm", "-rf", staging / name], check=True)


def left_in(staging: str) -> list[str]:
    return sorted(name for name in os.listdir(staging) if name.startswith("upload-"))


def records() -> list[str]:
    directory = Path(str(state_directory()), "staged")
    return os.listdir(directory) if directory.is_dir() else []


def change(copy: StagedCopy, **changes: object) -> None:
    staged_copies.remember(msgspec.structs.replace(copy, **changes))


KILLED = """
import os, signal, sys
from gobbler.client import Client, checksums, upload
url, staging, project, source, when = sys.argv[1:]
def die(*arguments, **options):
    os.kill(os.getpid(), signal.SIGKILL)
if when == "copying":
    checksums.Checksums.add = checksums.Checksums.compute = checksums.Checksums.keep = die
client = Client(url, staging=staging)
if when == "waiting":
    request = client.connection.request
    client.connection.request = lambda action, **fields: (
        die() if action == "upload" else request(action, **fields)
    )
client.upload(f"{project}/a/killed", source)
"""


@pytest.fixture
def killed(service, project, source):
    """Kill a client while it uploads; the name of the copy that it leaves."""

    def killed(when: str) -> str:
        before = left_in(service.staging)
        subprocess.run(
            [sys.executable, "-c", KILLED, service.url, service.staging, project, source, when]
        )
        (name,) = set(left_in(service.staging)) - set(before)
        return name

    return killed


def test_an_upload_leaves_and_remembers_nothing(client, project, source, service):
    before = left_in(service.staging)
    client.upload(f"{project}/a/1", source)
    assert left_in(service.staging) == before
    assert records() == []


UPLOAD = """
import sys, time
from gobbler.client import Client
from gobbler.client.staged_copies import copies, new_copy, remember
url, staging, registry, source = sys.argv[1:]
client = Client(url, staging=staging, registry=registry)
client.upload("p/a/1", source)
client.submit("p/a/2", source).wait()
client.submit("p/a/3", source).wait()
client.upload("p/a/4", source)
print(len(list(client.asset("p/a"))), list(copies()))
"""


def test_a_user_who_can_not_list_staging_leaves_nothing(public_place):
    account("gtada")
    source = public_place.top / "source"
    (source / "d" / "e").mkdir(parents=True)
    (source / "d" / "e" / "f").write_text("x")
    python, environment = interpreter("gtada")
    with Running(public_place) as service:
        service.succeed("create_project", {"project": "p", "permissions": {"owners": ["gtada"]}})
        places = (service.url, public_place.staging, public_place.registry, source)
        done = subprocess.run(
            [python, "-c", UPLOAD, *places],
            env={**environment, "XDG_STATE_HOME": str(public_place.staging / "gtada")},
            capture_output=True,
            text=True,
            cwd="/",
            **identity("gtada"),
        )
        assert done.stdout == "4 []\n", done.stderr
        assert left_in(str(public_place.staging)) == []


def test_a_copy_of_a_killed_client_goes_with_the_next_upload(client, killed, project, source):
    name = killed("copying")
    assert records() == [name]
    client.upload(f"{project}/a/1", source)
    assert left_in(client.staging) == []
    assert records() == []


def test_a_copy_that_a_service_may_be_using_stays_for_a_day(client, killed, project, source):
    name = killed("waiting")
    client.upload(f"{project}/a/1", source)
    assert left_in(client.staging) == [name]
    (copy,) = staged_copies.copies()
    assert copy.requested
    change(copy, made=time.time() - staged_copies.KEEP_SECONDS - 1)
    client.upload(f"{project}/a/2", source)
    assert left_in(client.staging) == []


def test_a_copy_of_another_host_stays_for_a_week(client, killed, project, source):
    killed("copying")
    (copy,) = staged_copies.copies()
    change(copy, holder=msgspec.structs.replace(copy.holder, host="other", boot="other"))
    client.upload(f"{project}/a/1", source)
    assert len(left_in(client.staging)) == 1
    (copy,) = staged_copies.copies()
    change(copy, made=time.time() - staged_copies.ABANDONED_SECONDS - 1)
    client.upload(f"{project}/a/2", source)
    assert left_in(client.staging) == []


def test_the_copy_of_a_job_goes_when_it_has_ended(run, client, project, source, service):
    code, out, _ = run("upload", "--no-wait", source, f"{project}/a/1", "--json")
    assert code == 0
    job = json.loads(out)["job"]
    client.connection.job(job).wait(timeout=30)
    assert left_in(service.staging) == []
    assert records() == []


def test_nobody_follows_a_job(run, client, project, source, service):
    job = json.loads(run("upload", "--no-wait", source, f"{project}/a/1", "--json")[1])["job"]
    wait_for("the end of the job", lambda: _state(service, job) == "done")
    for copy in staged_copies.copies():
        assert copy.job == job
    client.upload(f"{project}/a/2", source)
    assert left_in(service.staging) == []
    assert records() == []


def _state(service, job: str) -> str:
    state = Path(service.staging, "..spool", "cur", f"{job}.state")
    return json.loads(state.read_bytes())["state"] if state.exists() else ""


def test_on_the_command_line(run, killed, service):
    name = killed("copying")
    code, out, err = run("staging", "ls")
    assert (code, err) == (0, "")
    assert "left" in out
    assert name in out
    assert run("staging", "clean", "--dry-run")[1] == f"would remove {service.staging}/{name}\n"
    assert left_in(service.staging) == [name]
    assert run("staging", "clean")[:2] == (0, f"removed {service.staging}/{name}\n")
    assert left_in(service.staging) == []
    assert run("staging", "clean") == (0, "", "")


def test_nothing_else_is_ever_removed(client, killed, project, source, tmp_path):
    name = killed("copying")
    (copy,) = staged_copies.copies()
    victim = tmp_path / "upload-victim"
    victim.mkdir()
    (victim / "precious").write_text("precious")
    # A record that somebody has changed, and a copy in whose place a link stands.
    change(copy, path=str(tmp_path / "precious directory"))
    shutil.rmtree(Path(client.staging, name))
    Path(client.staging, name).symlink_to(victim)
    client.upload(f"{project}/a/1", source)
    assert (victim / "precious").read_text() == "precious"
    Path(client.staging, name).unlink()


@pytest.mark.parametrize("state", ["unwritable", "a file"])
def test_without_a_state_directory_uploads_work(
    client, project, source, tmp_path, monkeypatch, state
):
    (tmp_path / "file").write_text("")
    broken = "/proc/none" if state == "unwritable" else str(tmp_path / "file")
    monkeypatch.setenv("XDG_STATE_HOME", broken)
    client.upload(f"{project}/a/1", source)
    assert left_in(client.staging) == []


def test_root_removes_what_others_left(run, tmp_path):
    uid = account("gtada")
    staging = tmp_path / "staging"
    (staging / "upload-1" / "d").mkdir(parents=True)
    (staging / "upload-1" / "d" / "f").write_text("x")
    (staging / "request-upload-1").write_text("{}")
    (staging / "..spool").mkdir()
    for path in (staging / "upload-1", *staging.rglob("upload-1/**/*")):
        os.chown(path, uid, -1)
    words = ("staging", "clean", "--all", "--staging", staging)
    assert run(*words) == (0, "", "")
    code, out, _ = run(*words, "--older-than", "0", "--dry-run")
    assert (code, out) == (0, "would remove request-upload-1\nwould remove upload-1\n")
    code, out, _ = run(*words, "--older-than", "0", "--json")
    assert (code, json.loads(out)["removed"]) == (0, ["request-upload-1", "upload-1"])
    assert os.listdir(staging) == ["..spool"]
    assert run("staging", "clean", "--all")[0] == 2
    assert run("staging", "clean", "--all", "--staging", tmp_path / "no")[0] == 5


SWEEP = """
import sys, time
from gobbler.service.staging_cleanup import clean_staging
found = clean_staging(sys.argv[1], time.time() + 1)
print(found.removed, found.left)
"""


def test_a_service_that_is_not_root_says_what_stays(tmp_path):
    uid, service = account("gtada"), account("gtservice")
    assert uid != service
    place = Path("/tmp") / f"gobbler-sweep-{os.getpid()}"
    try:
        (place / "upload-1" / "d").mkdir(parents=True)
        place.chmod(0o1777)
        for path in (place / "upload-1", place / "upload-1" / "d"):
            os.chown(path, uid, -1)
        python, environment = interpreter("gtservice")
        done = subprocess.run(
            [python, "-c", SWEEP, place],
            env=environment,
            capture_output=True,
            text=True,
            cwd="/",
            **identity("gtservice"),
        )
        assert done.stdout == "[] ['upload-1']\n"
    finally:
        shutil.rmtree(place)


@pytest.mark.parametrize("mode", [0o1733, 0o1777])
@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_a_user_who_may_not_list_staging_leaves_nothing(public_place, mode, umask):
    account(ALICE)
    for place in (public_place.staging, public_place.registry):
        os.chown(place, account(SERVICE), -1)
    public_place.staging.chmod(mode)
    home = public_place.top / "home"
    (home / "results/sub/deep").mkdir(parents=True)
    (home / "results/sub/deep/file").write_text("content")
    for path in (home, *home.rglob("*")):
        os.chown(path, account(ALICE), -1)
    python, around = interpreter(ALICE)

    def command(*words):
        done = subprocess.run(
            [python, "-m", "gobbler", *words],
            env={**around, "HOME": str(home), "XDG_STATE_HOME": str(home / "state")},
            cwd=home,
            capture_output=True,
            text=True,
            umask=umask,
            **identity(ALICE),
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    with Running(public_place, f"--admin={ALICE}", user=SERVICE) as running:
        url = f"--url={running.url}"
        command("create-project", "p", url)
        command("upload", "results", "p/a/1", url)
        assert left_in(str(public_place.staging)) == []
        command("upload", "results", "p/a/2", "--no-wait", url)
        wait_for("the version", (public_place.registry / "p/a/2").exists)
        wait_for("its job", lambda: "in use" not in command("staging", "ls"))
        command("staging", "clean")
        assert left_in(str(public_place.staging)) == []
