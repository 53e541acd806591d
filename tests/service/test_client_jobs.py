"""Jobs as clients see them: over HTTP, and through the filesystem alone."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gobbler.cli import main
from gobbler.client import Client, RequestFailed
from gobbler.client.errors import TooSlow
from gobbler.client.testing import TestService
from gobbler.errors import Cancelled, Code, Missing, Refused

_numbers = itertools.count(1)


def eventually(check: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(scope="session")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of a registry that is served by a worker, without HTTP."""
    top = tmp_path_factory.mktemp("alone")
    (top / "registry").mkdir()
    (top / "staging").mkdir()
    (top / "staging").chmod(0o1777)
    command = [sys.executable, "-m", "gobbler", "worker", "--admin", "root,nobody", "--grace", "1"]
    command += ["--staging", str(top / "staging"), "--registry", str(top / "registry")]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as worker:
        eventually((top / "staging/..spool/jobs").exists)
        yield Client(staging=top / "staging", registry=top / "registry")
        worker.terminate()
        assert worker.wait(30) == 0


@pytest.fixture(params=["over HTTP", "through files"])
def either(request: pytest.FixtureRequest) -> Client:
    """A client, in both ways."""
    if request.param == "through files":
        found: Client = request.getfixturevalue("alone")
    else:
        found = request.getfixturevalue("client")
    return found


@pytest.fixture
def asset(either: Client) -> tuple[str, str]:
    project = f"jobs-{next(_numbers)}"
    either.admin.create_project(project)
    return project, "a"


def test_all_that_changes_something_works_without_http(alone: Client, source: Path) -> None:
    project = f"alone-{next(_numbers)}"
    alone.admin.create_project(project)
    alone.upload(project, "a", "1", source, probation=True)
    assert alone.version(project, "a", "1").summary().on_probation
    alone.version(project, "a", "1").approve()
    assert alone.asset(project, "a").latest().name == "1"
    alone.upload(project, "a", "2", source, probation=True)
    alone.version(project, "a", "2").reject()
    alone.project(project).set_permissions(owners=["somebody"])
    assert "somebody" in alone.project(project).permissions().owners
    assert alone.admin.refresh_usage(project) == alone.project(project).usage() > 0
    assert alone.admin.refresh_latest(project, "a") == "1"
    alone.admin.validate_version(project, "a", "1")
    alone.admin.reindex_version(project, "a", "1")
    alone.admin.delete_version(project, "a", "1")
    alone.admin.delete_project(project)
    assert not alone.project(project).exists()
    assert [name for name in os.listdir(alone.staging) if not name.startswith("..")] == []


def test_errors_are_those_of_a_plain_request(either: Client, source: Path) -> None:
    project = f"twice-{next(_numbers)}"
    either.admin.create_project(project)
    job = either.connection.start("create_project", project=project)
    with pytest.raises(Refused, match="already exists"):
        job.wait()
    job = either.connection.start("refresh_usage", project="nowhere")
    with pytest.raises(Missing, match="does not exist"):
        job.wait()


def test_a_submitted_upload_can_be_followed(
    either: Client, asset: tuple[str, str], source: Path
) -> None:
    job = either.submit(*asset, "1", source)
    assert job.wait(timeout=60) == {"status": "SUCCESS"}
    state = job.state()
    assert (state.state, state.action, state.attempts) == ("done", "upload", 1)
    files = [path for path in source.rglob("*") if path.is_file()]
    assert state.progress.files == state.progress.files_expected == len(files)
    assert job.progress() == (state.progress.bytes, state.progress.bytes_expected)
    assert job.name in {known.job for known in either.jobs.list()}
    assert either.jobs.get(job.name.partition("-")[2]).state() == state
    assert [name for name in os.listdir(either.staging) if name.startswith("upload-")] == []


def test_a_job_that_was_cancelled_leaves_nothing(either: Client, asset: tuple[str, str]) -> None:
    staged = Path(either.staging, f"large-{next(_numbers)}")
    staged.mkdir()
    for number in range(3):
        with (staged / f"{number}").open("wb") as file:
            file.truncate(3_000_000_000)
    job = either.submit(*asset, "1", staged)
    eventually(lambda: job.state().state == "running")
    with pytest.raises(TooSlow, match="did not end"):
        job.wait(timeout=0.01)
    assert job.cancel().state == "cancelled"
    with pytest.raises(RequestFailed, match="cancelled") as caught:
        job.wait()
    assert isinstance(caught.value, Cancelled)
    assert (caught.value.exit_code, caught.value.code) == (130, Code.CANCELLED)
    assert not either.asset(*asset).exists() or not either.asset(*asset).versions()
    with pytest.raises(Refused, match="ended already"):
        job.cancel()
    for path in staged.iterdir():
        path.unlink()
    staged.rmdir()


def test_a_job_that_nobody_knows(either: Client) -> None:
    for name in ("0-request-upload-x", "request-upload-x", "x"):
        with pytest.raises(Missing, match="no job"):
            either.jobs.get(name).state()


def test_another_users_job_is_none_of_ones_business(service: TestService, client: Client) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can act as another account")
    client.connection.start("health_check").wait()
    (mine, *_) = [job.job for job in client.jobs.list() if job.action == "health_check"]
    program = (
        "import os, encodings.idna, http.client, netrc, requests\n"
        "from gobbler.client import Client\n"
        "import gobbler.client.groups\n"
        "os.setgid(65534); os.setuid(65534)\n"
        f"client = Client({service.url!r}, staging={service.staging!r})\n"
        "assert not client.jobs.list()[1:], client.jobs.list()\n"
        f"client.jobs.get({mine!r}).cancel()\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "belongs to another user" in ended.stderr.splitlines()[-1], ended.stderr


def test_without_a_spool_the_reason_is_reported(tmp_path: Path) -> None:
    with pytest.raises(Missing, match="no spool"):
        Client(staging=tmp_path).admin.create_project("p")
    with pytest.raises(Missing, match="not on this machine"):
        Client(staging=tmp_path / "nowhere").admin.create_project("p")


def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], client: Client, *words: str
) -> tuple[int, str, str]:
    monkeypatch.setenv("GOBBLER_STAGING", client.staging)
    monkeypatch.setenv("GOBBLER_REGISTRY", client.registry)
    if client.url:
        monkeypatch.setenv("GOBBLER_URL", client.url)
    with pytest.raises(SystemExit) as stop:
        main(list(words))
    out, err = capsys.readouterr()
    return int(str(stop.value.code)), out, err


def test_the_command_line(
    either: Client,
    asset: tuple[str, str],
    source: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    address = "/".join([*asset, "1"])

    def gobbler(*words: str) -> tuple[int, str, str]:
        return run(monkeypatch, capsys, either, *words)

    code, out, err = gobbler("upload", "--no-wait", str(source), address)
    job = out.strip()
    assert (code, err.strip()) == (0, f"Follow it with: gobbler jobs follow {job}")
    assert gobbler("jobs", "follow", job)[:2] == (0, f"done {job}\n")
    code, out, _ = gobbler("jobs", "show", job, "--json")
    assert (code, json.loads(out)["state"]) == (0, "done")
    assert "done" in gobbler("jobs", "show", job)[1]
    listed = gobbler("jobs", "ls")[1].splitlines()
    assert any(line.startswith(job) and "\tdone\t" in line for line in listed)
    code, out, err = gobbler("upload", "--no-wait", str(source), address)
    assert (code, out, "already exists" in err) == (Refused.exit_code, "", True)
    (source / "outside").symlink_to("/etc/passwd")
    elsewhere = "/".join([*asset, "outside"])
    failed = gobbler("upload", "--no-wait", str(source), elsewhere)[1].strip()
    (source / "outside").unlink()
    code, _, err = gobbler("jobs", "follow", failed)
    assert (code, "outside" in err) == (Refused.exit_code, True)
    code, _, err = gobbler("jobs", "cancel", failed)
    assert (code, "ended already" in err) == (Refused.exit_code, True)
    assert gobbler("jobs", "show", "nonsense")[0] == Missing.exit_code
    assert gobbler("jobs", "ls", "--all", "--json")[0] == 0
    code, out, _ = gobbler("upload", str(source), "/".join([*asset, "2"]))
    assert (code, out.splitlines()[0].startswith("published")) == (0, True)


def test_interrupting_the_wait_for_an_upload_cancels_it(
    either: Client, asset: tuple[str, str]
) -> None:
    staged = Path(either.staging, f"slow-{next(_numbers)}")
    staged.mkdir()
    with (staged / "big").open("wb") as file:
        file.truncate(8_000_000_000)

    class Interrupting:
        def expect(self, files: int, size: int | None) -> None:
            raise KeyboardInterrupt

        def advance(self, files: int, size: int) -> None:
            raise AssertionError

    with pytest.raises(KeyboardInterrupt):
        either.upload(*asset, "1", staged, publishing=Interrupting())
    assert [job for job in either.jobs.list() if job.action == "upload" and not job.is_final] == []
    (staged / "big").unlink()
    staged.rmdir()
