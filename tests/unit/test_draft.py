"""A record replaces another as a whole or not at all; a killed writer leaves nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gobbler.errors import Fault
from gobbler.fs.flush import Durability
from gobbler.fs.lease import EXPIRY_SECONDS, this_kernel
from gobbler.registry import draft
from gobbler.registry.draft import directories_to_flush, remove_abandoned_drafts, write_record

WRITE = """
import os, sys
from gobbler.registry.draft import write_record
from gobbler.fs.flush import Durability
rename = os.rename
def wait(*names):
    print("here", flush=True)
    sys.stdin.read()
    rename(*names)
os.rename = wait
write_record(sys.argv[1], sys.argv[1] + "/record", b"new", Durability.RELAXED)
"""


@pytest.fixture
def registry(tmp_path: Path) -> str:
    (tmp_path / "..incoming").mkdir()
    (tmp_path / "record").write_bytes(b"old")
    return str(tmp_path)


def left(registry: str) -> list[str]:
    return os.listdir(f"{registry}/..incoming")


@pytest.fixture
def writer(registry: str) -> Iterator[subprocess.Popen[str]]:
    """Another process with a complete draft, which it renames when its input is closed."""
    command = [sys.executable, "-c", WRITE, registry]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        yield process
        if process.poll() is None:
            process.communicate("", timeout=30)


@pytest.mark.parametrize("durability", Durability)
def test_a_record_takes_the_place_of_another(registry: str, durability: Durability) -> None:
    target = Path(registry, "record")
    write_record(registry, str(target), b"new", durability)
    assert target.read_bytes() == b"new"
    assert target.stat().st_mode & 0o777 == 0o644
    assert left(registry) == []


def test_what_is_renamed_is_on_disk_and_so_is_the_rename_when_it_is_acknowledged(
    registry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    target = f"{registry}/record"

    def fsync(descriptor: int) -> None:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        content = os.pread(descriptor, 9, 0).decode() if os.path.isfile(path) else ""
        done.append(f"fsync {content}".rstrip())

    real = os.rename
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "rename", lambda *names: (done.append("rename"), real(*names)))
    write_record(registry, target, b"new", Durability.FULL)
    assert done == ["fsync new", "rename"]
    write_record(registry, target, b"newer", Durability.RELAXED)
    assert done[2:] == ["rename"]
    assert set(directories_to_flush(registry, target)) == {registry, f"{registry}/..incoming"}


def test_a_draft_that_recovery_removed_before_it_was_locked_is_made_again(
    registry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, swept = draft.try_lock, []

    def late(descriptor: int, how: int) -> bool:
        if not swept:
            swept.extend(left(registry))
            os.unlink(f"{registry}/..incoming/{swept[0]}")
        return real(descriptor, how)

    monkeypatch.setattr(draft, "try_lock", late)
    write_record(registry, f"{registry}/record", b"new", Durability.RELAXED)
    assert len(swept) == 1
    assert Path(registry, "record").read_bytes() == b"new"
    assert left(registry) == []


def test_nothing_changes_and_nothing_is_left_if_it_fails(
    registry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="absent"):
        write_record(registry, f"{registry}/absent/record", b"new", Durability.RELAXED)
    monkeypatch.setattr(draft, "write_all", _full)
    with pytest.raises(Fault, match=r"could not write .*\.draft"):
        write_record(registry, f"{registry}/record", b"new", Durability.RELAXED)
    assert Path(registry, "record").read_bytes() == b"old"
    assert left(registry) == []
    assert len(os.listdir("/proc/self/fd")) == before


def _full(descriptor: int, data: bytes) -> None:
    del descriptor, data
    raise OSError(28, "No space left on device")


def test_the_draft_of_a_living_process_stays(registry: str, writer: subprocess.Popen[str]) -> None:
    assert remove_abandoned_drafts(registry, os.listdir(f"{registry}/..incoming")) == 0
    assert len(left(registry)) == 1
    writer.communicate("", timeout=30)
    assert writer.returncode == 0
    assert Path(registry, "record").read_bytes() == b"new"


def test_the_draft_of_a_killed_process_is_removed(
    registry: str, writer: subprocess.Popen[str]
) -> None:
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    assert len(left(registry)) == 1
    assert remove_abandoned_drafts(registry, os.listdir(f"{registry}/..incoming")) == 1
    assert left(registry) == []
    assert Path(registry, "record").read_bytes() == b"old"


@pytest.mark.parametrize(
    ("age", "excluding", "kernel", "gone"),
    [
        (0.0, True, "", True),
        (0.0, False, "", False),
        (0.0, True, "0123abcd", False),
        (EXPIRY_SECONDS + 60, False, "", True),
        (EXPIRY_SECONDS + 60, True, "0123abcd", True),
    ],
)
def test_silence_decides_where_locks_do_not(
    registry: str,
    monkeypatch: pytest.MonkeyPatch,
    age: float,
    excluding: bool,
    kernel: str,
    gone: bool,
) -> None:
    path = Path(registry, "..incoming", f"1-2-{kernel or this_kernel()}.draft")
    path.write_bytes(b"half of")
    os.utime(path, (time.time() - age, time.time() - age))
    monkeypatch.setattr(draft, "locks_exclude", lambda _: excluding)
    assert remove_abandoned_drafts(registry, os.listdir(f"{registry}/..incoming")) == gone
    assert path.exists() == (not gone)
