"""Workspaces in ``..incoming``: recovered when they are abandoned, and never before."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from gobbler.errors import Cancelled, Code
from gobbler.fs import lease
from gobbler.fs.lease import EXPIRY_SECONDS, Holder, encode_holder, this_process
from gobbler.registry import workspace
from gobbler.registry.discarded import Freed, discarded_trees, remove_discarded
from gobbler.registry.workspace import Workspace, abandoned_workspaces, new_workspace

BUILD = """
import sys, time
from gobbler.registry.workspace import new_workspace
with new_workspace(sys.argv[1]) as made:
    open(made.tree, "w").close()
    print(made.path, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def registry(tmp_path: Path) -> str:
    (tmp_path / "..incoming").mkdir()
    return str(tmp_path)


def left(registry: str) -> list[str]:
    """What is left once the discarded trees are removed."""
    remove_discarded(registry)
    assert discarded_trees(registry) == []
    return sorted(os.listdir(f"{registry}/..incoming"))


def recovered(registry: str) -> list[int]:
    """The inodes of the workspaces that were abandoned: they have other names now."""
    return [os.stat(made.path).st_ino for made in abandoned_workspaces(registry)]


def inode(path: str) -> int:
    return os.stat(path).st_ino


@pytest.fixture
def builder(registry: str) -> Iterator[subprocess.Popen[str]]:
    """Another process with a workspace, until its standard input is closed or it is killed."""
    command = [sys.executable, "-c", BUILD, registry]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        yield process
        if process.poll() is None:
            process.communicate("", timeout=30)


def test_nothing_is_left_of_a_workspace_that_ended(registry: str) -> None:
    with new_workspace(registry) as made:
        os.makedirs(f"{made.tree}/d")
        Path(made.tree, "d/f").write_text("x")
        assert len(left(registry)) == 2
    assert left(registry) == []
    with pytest.raises(KeyError), new_workspace(registry):
        raise KeyError
    assert left(registry) == []


def test_workspaces_of_one_moment_have_different_names(
    registry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 1)
    with new_workspace(registry) as one, new_workspace(registry) as other:
        assert one.path != other.path


def test_no_other_account_can_read_or_lock_the_lease(registry: str) -> None:
    with new_workspace(registry) as made:
        assert os.stat(made.lease.path).st_mode & 0o077 == 0


def test_a_workspace_of_this_process_is_not_abandoned(registry: str) -> None:
    with new_workspace(registry) as made:
        assert recovered(registry) == []
        assert os.path.isdir(made.path)


def test_a_workspace_of_another_living_process_is_not_abandoned(
    registry: str, builder: subprocess.Popen[str]
) -> None:
    before = left(registry)
    assert len(before) == 2
    assert recovered(registry) == []
    assert left(registry) == before


def test_it_is_not_abandoned_even_where_locks_do_nothing(
    registry: str, builder: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "try_lock", lambda *arguments: True)
    assert recovered(registry) == []


def test_a_workspace_of_a_killed_process_is_abandoned(
    registry: str, builder: subprocess.Popen[str]
) -> None:
    builder.send_signal(signal.SIGKILL)
    builder.wait()
    assert len(recovered(registry)) == 1
    assert left(registry) == []


def test_a_zombie_is_dead(registry: str, builder: subprocess.Popen[str]) -> None:
    builder.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, builder.pid, os.WEXITED | os.WNOWAIT)
    assert len(recovered(registry)) == 1


def test_an_abandoned_workspace_is_held_until_the_next_is_asked_for(
    registry: str, builder: subprocess.Popen[str]
) -> None:
    builder.kill()
    builder.wait()
    found = abandoned_workspaces(registry)
    made = next(found)
    assert recovered(registry) == [], "another recovery leaves it alone"
    assert os.path.exists(made.tree)
    assert list(found) == []
    assert left(registry) == []


def abandoned(registry: str, content: bytes) -> str:
    path = f"{registry}/..incoming/made"
    Path(path + ".lock").write_bytes(content)
    os.makedirs(f"{path}/tree/d")
    return path


def of(builder: Holder, **changed: object) -> bytes:
    return encode_holder(msgspec.structs.replace(builder, **changed))


@pytest.mark.parametrize("content", [b"", b"{", b'{"host": "h"}', b"\xff"])
def test_a_workspace_without_a_holder_is_abandoned(registry: str, content: bytes) -> None:
    assert recovered(registry) == [] == left(registry)
    expected = inode(abandoned(registry, content))
    assert recovered(registry) == [expected]
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
def test_a_workspace_of_a_process_that_has_ended_is_abandoned(
    registry: str, changed: dict[str, object]
) -> None:
    expected = inode(abandoned(registry, of(this_process(), **changed)))
    assert recovered(registry) == [expected]


def test_a_workspace_of_another_host_is_abandoned_only_after_a_long_silence(registry: str) -> None:
    path = abandoned(registry, of(this_process(), host="another", boot="another"))
    assert recovered(registry) == []
    os.utime(path + ".lock", (time.time() - EXPIRY_SECONDS + 60,) * 2)
    assert recovered(registry) == []
    os.utime(path + ".lock", (time.time() - EXPIRY_SECONDS - 60,) * 2)
    expected = inode(path)
    assert recovered(registry) == [expected]


def test_a_renewal_breaks_the_silence(registry: str) -> None:
    with new_workspace(registry) as made:
        os.utime(made.lease.path, (0, 0))
        made.renew()
        assert time.time() - os.stat(made.lease.path).st_mtime < 60


def test_a_kept_workspace_is_abandoned_though_its_process_lives(
    registry: str,
) -> None:
    with new_workspace(registry) as made:
        Path(made.intent).write_text("{}")
        made.keep = True
    assert os.path.exists(made.intent)
    expected = inode(made.path)
    assert recovered(registry) == [expected]
    assert left(registry) == []


def test_a_workspace_that_recovery_keeps_stays_for_the_next(registry: str) -> None:
    path = abandoned(registry, b"")
    expected = inode(path)
    for made in abandoned_workspaces(registry):
        made.keep = True
    assert not os.path.exists(path), "its former holder finds nothing any more"
    assert recovered(registry) == [expected]


def test_a_workspace_that_can_not_be_removed_stays_for_recovery(
    registry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: str, freed: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO), path)

    with monkeypatch.context() as patch, new_workspace(registry) as made:
        Path(made.path, "record").write_text("{}")
        patch.setattr(workspace, "discard", fail)
    assert len(left(registry)) == 2
    expected = inode(made.path)
    assert recovered(registry) == [expected]


def test_other_files_are_left_alone(registry: str) -> None:
    Path(registry, "..incoming/note").write_text("by an administrator")
    assert recovered(registry) == []
    assert left(registry) == ["note"]


def test_the_intent_goes_before_the_tree(registry: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # With an intent, but without a tree, a change counts as committed.
    seen: list[bool] = []
    real = workspace.discard

    def look(path: str, freed: Freed | None) -> None:
        seen.append(os.path.exists(f"{path}/intent"))
        real(path, freed)

    monkeypatch.setattr(workspace, "discard", look)
    with new_workspace(registry) as made:
        Path(made.intent).write_text("{}")
        Path(made.tree).mkdir()
    assert seen == [False]
    assert isinstance(made, Workspace)


def test_whoever_was_taken_over_is_told_so(registry: str) -> None:
    def work() -> None:
        with new_workspace(registry) as made:
            os.rename(made.path, f"{registry}/former")
            os.mkdir(made.tree)

    with pytest.raises(Cancelled, match="another process has taken the work over") as caught:
        work()
    assert caught.value.code == Code.CONTENTION


def test_a_file_that_is_missing_elsewhere_is_reported_as_it_is(registry: str) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"), new_workspace(registry):
        os.stat(f"{registry}/nowhere")
    assert left(registry) == []
