"""Jobs below ``..incoming``: swept when nobody builds them any more, and never before."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from gobbler.fs import lease
from gobbler.fs.lease import EXPIRY_SECONDS, Holder, encode_holder, this_process
from gobbler.registry import workspace
from gobbler.registry.workspace import Workspace, abandoned_workspaces, new_workspace

BUILD = """
import sys, time
from gobbler.registry.workspace import new_workspace
with new_workspace(sys.argv[1]) as job:
    open(job.tree, "w").close()
    print(job.path, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def registry(tmp_path: Path) -> str:
    (tmp_path / "..incoming").mkdir()
    return str(tmp_path)


def left(registry: str) -> list[str]:
    return sorted(os.listdir(f"{registry}/..incoming"))


def sweep(registry: str) -> list[str]:
    return [job.path for job in abandoned_workspaces(registry)]


@pytest.fixture
def builder(registry: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that builds, until its standard input is closed or it is killed."""
    command = [sys.executable, "-c", BUILD, registry]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        yield process
        if process.poll() is None:
            process.communicate("", timeout=30)


def test_nothing_is_left_of_a_job_that_ended(registry: str) -> None:
    with new_workspace(registry) as job:
        os.makedirs(f"{job.tree}/d")
        Path(job.tree, "d/f").write_text("x")
        assert len(left(registry)) == 2
    assert left(registry) == []
    with pytest.raises(KeyError), new_workspace(registry):
        raise KeyError
    assert left(registry) == []


def test_jobs_of_one_moment_do_not_meet(registry: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 1)
    with new_workspace(registry) as one, new_workspace(registry) as other:
        assert one.path != other.path


def test_nobody_else_can_read_or_lock_the_lock_file(registry: str) -> None:
    with new_workspace(registry) as job:
        assert os.stat(job.lease.path).st_mode & 0o077 == 0


def test_what_this_process_builds_is_not_swept(registry: str) -> None:
    with new_workspace(registry) as job:
        assert sweep(registry) == []
        assert os.path.isdir(job.path)


def test_what_another_living_process_builds_is_not_swept(
    registry: str, builder: subprocess.Popen[str]
) -> None:
    before = left(registry)
    assert len(before) == 2
    assert sweep(registry) == []
    assert left(registry) == before


def test_it_is_not_swept_even_where_locks_do_nothing(
    registry: str, builder: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "try_lock", lambda *arguments: True)
    assert sweep(registry) == []


def test_what_a_killed_process_built_is_swept(
    registry: str, builder: subprocess.Popen[str]
) -> None:
    builder.send_signal(signal.SIGKILL)
    builder.wait()
    assert len(sweep(registry)) == 1
    assert left(registry) == []


def test_a_killed_process_that_nobody_has_waited_for_is_dead_all_the_same(
    registry: str, builder: subprocess.Popen[str]
) -> None:
    builder.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, builder.pid, os.WEXITED | os.WNOWAIT)
    assert len(sweep(registry)) == 1


def test_what_is_swept_is_held_until_the_next_is_asked_for(
    registry: str, builder: subprocess.Popen[str]
) -> None:
    builder.kill()
    builder.wait()
    jobs = abandoned_workspaces(registry)
    job = next(jobs)
    assert sweep(registry) == [], "another sweep leaves it alone"
    assert os.path.exists(job.tree)
    assert list(jobs) == []
    assert left(registry) == []


def abandoned(registry: str, content: bytes) -> str:
    path = f"{registry}/..incoming/job"
    Path(path + ".lock").write_bytes(content)
    os.makedirs(f"{path}/tree/d")
    return path


def of(builder: Holder, **changed: object) -> bytes:
    return encode_holder(msgspec.structs.replace(builder, **changed))


@pytest.mark.parametrize("content", [b"", b"{", b'{"host": "h"}', b"\xff"])
def test_a_job_of_nobody_is_swept(registry: str, content: bytes) -> None:
    assert sweep(registry) == [] == left(registry)
    path = abandoned(registry, content)
    assert sweep(registry) == [path]
    assert left(registry) == []


@pytest.mark.parametrize(
    "changed",
    [
        {"started": "1"},
        {"boot": "an earlier one", "pid": 1},
        {"namespace": "pid:[1]"},
        {"pid": 2**22 + 1},
    ],
)
def test_a_job_of_a_process_that_is_gone_is_swept(
    registry: str, changed: dict[str, object]
) -> None:
    path = abandoned(registry, of(this_process(), **changed))
    assert sweep(registry) == [path]


def test_a_job_of_another_host_is_swept_only_after_a_long_silence(registry: str) -> None:
    path = abandoned(registry, of(this_process(), host="another", boot="another"))
    assert sweep(registry) == []
    os.utime(path + ".lock", (time.time() - EXPIRY_SECONDS + 60,) * 2)
    assert sweep(registry) == []
    os.utime(path + ".lock", (time.time() - EXPIRY_SECONDS - 60,) * 2)
    assert sweep(registry) == [path]


def test_a_sign_of_life_breaks_the_silence(registry: str) -> None:
    with new_workspace(registry) as job:
        os.utime(job.lease.path, (0, 0))
        job.renew()
        assert time.time() - os.stat(job.lease.path).st_mtime < 60


def test_an_unfinished_job_stays_and_the_next_sweep_gets_it_though_its_process_lives(
    registry: str,
) -> None:
    with new_workspace(registry) as job:
        Path(job.intent).write_text("{}")
        job.keep = True
    assert os.path.exists(job.intent)
    assert sweep(registry) == [job.path]
    assert left(registry) == []


def test_a_job_that_a_sweep_could_not_finish_stays_for_the_next(registry: str) -> None:
    path = abandoned(registry, b"")
    for job in abandoned_workspaces(registry):
        job.keep = True
    assert os.path.isdir(path)
    assert sweep(registry) == [path]


def test_a_job_that_can_not_be_removed_stays_for_the_next_sweep(
    registry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, new_workspace(registry) as job:
        Path(job.path, "record").write_text("{}")
        patch.setattr(workspace.shutil, "rmtree", lambda *arguments, **options: None)
    assert len(left(registry)) == 2
    assert sweep(registry) == [job.path]


def test_other_things_there_are_left_alone(registry: str) -> None:
    Path(registry, "..incoming/note").write_text("by an administrator")
    assert sweep(registry) == []
    assert left(registry) == ["note"]


def test_the_intent_goes_before_the_tree(registry: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # With its intent, but without its tree, a job looks as if it had been published.
    seen: list[bool] = []
    real = workspace.shutil.rmtree

    def look(path: str, **options: bool) -> None:
        seen.append(os.path.exists(f"{path}/intent"))
        real(path, **options)

    monkeypatch.setattr(workspace.shutil, "rmtree", look)
    with new_workspace(registry) as job:
        Path(job.intent).write_text("{}")
        Path(job.tree).mkdir()
    assert seen == [False]
    assert isinstance(job, Workspace)
