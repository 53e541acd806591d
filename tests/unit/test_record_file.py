"""Whatever stands in the place of a record, reading it ends soon and takes little memory."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gobbler.errors import Code, Fault, Missing
from gobbler.fs.record_file import LARGE_LIMIT, SMALL_LIMIT, read_file

RECORD = b'{"total": 5}'


def _fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _socket(path: Path) -> None:
    path.unlink()
    here = os.getcwd()
    os.chdir(path.parent)  # the path of a socket must be short
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


def _directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def _device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def _sparse(path: Path) -> None:
    os.truncate(path, 1 << 40)


def _large(path: Path) -> None:
    path.write_bytes(b" " * SMALL_LIMIT + RECORD)


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "fifo": (_fifo, "no regular file"),
    "socket": (_socket, "no regular file"),
    "device": (_device, "no regular file"),
    "sparse": (_sparse, "NUL byte in the first"),
    "large": (_large, f"larger than {SMALL_LIMIT} bytes"),
}

PROGRAM = """
import resource, sys
from gobbler.client.source import LocalSource
from gobbler.errors import Fault
from gobbler.fs.record_file import read_file
limit = 1 << 30
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
root, path = sys.argv[1:]
for read in (LocalSource(root).read, lambda path: read_file(f"{root}/{path}", path)):
    try:
        read(path)
    except Fault as error:
        print(error.code.value, error)
"""


@pytest.mark.parametrize("damage", DAMAGE)
def test_it_is_damaged(tmp_path: Path, damage: str) -> None:
    (tmp_path / "p").mkdir()
    record = tmp_path / "p" / "..usage"
    record.write_bytes(RECORD)
    make, problem = DAMAGE[damage]
    make(record)
    command = [sys.executable, "-c", PROGRAM, str(tmp_path), "p/..usage"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    for line in lines:
        assert line.startswith(f"{Code.DAMAGED_RECORD.value} p/..usage is damaged: ")
        assert problem in line


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (_directory, "it is a directory, no regular file"),
        (_loop, "it is a symbolic link that leads to itself"),
    ],
)
def test_what_is_no_file_is_no_fault_of_the_disk(
    tmp_path: Path, make: Callable[[Path], object], problem: str
) -> None:
    record = tmp_path / "..usage"
    record.touch()
    make(record)
    with pytest.raises(Fault, match=problem) as caught:
        read_file(str(record), "p/..usage")
    assert caught.value.code == Code.DAMAGED_RECORD


def test_what_a_record_may_have_is_read(tmp_path: Path) -> None:
    for name, size in (("..usage", SMALL_LIMIT), ("..manifest", SMALL_LIMIT + 5), ("..links", 0)):
        (tmp_path / name).write_bytes(b"x" * size)
        assert read_file(str(tmp_path / name), name) == b"x" * size
    assert LARGE_LIMIT > SMALL_LIMIT
    with pytest.raises(Missing):
        read_file(str(tmp_path / "..latest"), "..latest")


def test_it_may_grow_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = tmp_path / "..manifest"
    record.write_bytes(b"a" * 3)
    real = os.read

    def grow_once(opened: int, count: int) -> bytes:
        part = real(opened, count)
        if record.stat().st_size == 3:
            with record.open("ab") as file:
                file.write(b"b" * 4)
        return part

    monkeypatch.setattr(os, "read", grow_once)
    assert read_file(str(record), "..manifest") == b"aaabbbb"
