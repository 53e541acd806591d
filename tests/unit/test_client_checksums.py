"""Checksums of what is copied into staging, the large ones computed in the background."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from gobbler.client import staged_file
from gobbler.client.checksums import WAITING, Checksums, Sent
from gobbler.client.parallel import Stop
from gobbler.client.staging import stage
from gobbler.client.staging_directory import StagingDirectory
from gobbler.errors import Cancelled, Fault
from gobbler.fs.fingerprint import Fingerprint
from gobbler.fs.hash import CHUNK
from gobbler.fs.open import closing, open_directory
from gobbler.model.progress import NoProgress

SIZES = (0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 17)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "file"
    made.write_bytes(os.urandom(2 * CHUNK + 17))
    return made


def sent(content: bytes) -> Sent:
    return Sent(len(content), hashlib.md5(content).hexdigest())


def send(
    file: Path, checksums: Checksums | None, path: str = "p", stop: Stop | None = None
) -> Path:
    into = file.with_name("copies")
    into.mkdir(exist_ok=True)
    with closing(open_directory(str(into))) as opened:
        staged_file.send(path, str(file), opened, NoProgress(), stop or Stop(), checksums)
    return into / path


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("how", ["in the background", "at once", "by hand"])
def test_what_was_copied_is_reported(
    file: Path, monkeypatch: pytest.MonkeyPatch, size: int, how: str
) -> None:
    content = os.urandom(size)
    file.write_bytes(content)
    if how == "at once":
        monkeypatch.setattr(staged_file, "READ_TWICE", 0)
    if how == "by hand":

        def elsewhere(*arguments: object) -> int:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

        monkeypatch.setattr(staged_file.os, "copy_file_range", elsewhere)
    before = open_files()
    with Checksums(2) as checksums:
        copy = send(file, checksums)
        assert checksums.result() == {"p": sent(content)}
    assert copy.read_bytes() == content
    assert open_files() == before


def test_nobody_need_want_them(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashlib, "md5", None)
    assert send(file, None).read_bytes() == file.read_bytes()


@pytest.mark.parametrize("change", ["other content", "shorter", "gone", "copy gone"])
def test_what_becomes_of_the_file_afterwards_does_not_matter(
    file: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    content = file.read_bytes()
    goes_on = threading.Event()
    real = Checksums._hash

    def later(self: Checksums, *arguments: int) -> Sent:
        assert goes_on.wait(60)
        return real(self, *arguments)

    monkeypatch.setattr(Checksums, "_hash", later)
    with Checksums(1) as checksums:
        copy = send(file, checksums)
        if change == "other content":
            file.write_bytes(os.urandom(len(content)))
            os.utime(file, ns=(1, 1))
        elif change == "shorter":
            os.truncate(file, 1)
        else:
            (copy if change == "copy gone" else file).unlink()
        goes_on.set()
        assert checksums.result() == {"p": sent(content)}


def test_a_change_during_the_hashing_is_noticed(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = file.read_bytes()
    real = os.readv
    changed = False

    def changing(descriptor: int, buffers: list[memoryview]) -> int:
        nonlocal changed
        if not changed:
            changed = True
            file.write_bytes(os.urandom(len(content)))
            os.utime(file, ns=(1, 1))
        return real(descriptor, buffers)

    monkeypatch.setattr(os, "readv", changing)
    with Checksums(1) as checksums:
        send(file, checksums)
        assert checksums.result() == {"p": sent(content)}
    assert changed


def test_few_files_are_open_at_a_time(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    goes_on = threading.Event()
    real = Checksums._hash

    def later(self: Checksums, *arguments: int) -> Sent:
        assert goes_on.wait(60)
        return real(self, *arguments)

    monkeypatch.setattr(Checksums, "_hash", later)
    os.truncate(file, CHUNK)
    before, names = open_files(), [str(number) for number in range(WAITING + 3)]
    with Checksums(1) as checksums:
        for name in names:
            send(file, checksums, name).unlink()
        assert open_files() <= before + 2 * WAITING + 2
        goes_on.set()
        assert checksums.result() == dict.fromkeys(names, sent(file.read_bytes()))
    assert open_files() == before


def test_an_error_elsewhere_ends_the_computing(tmp_path: Path) -> None:
    for name in ("begun", "waiting"):
        with (tmp_path / name).open("wb") as file:
            file.truncate(1 << 40)  # hours of work
    before = open_files()
    with (
        closing(open_directory(str(tmp_path))) as into,
        suppress(ZeroDivisionError),
        Checksums(1) as checksums,
    ):
        for name in ("begun", "waiting"):
            with (tmp_path / name).open("rb") as file:
                fingerprint = Fingerprint.of(os.fstat(file.fileno()))
                assert checksums.compute(name, file.fileno(), into, fingerprint)
        raise ZeroDivisionError
    assert open_files() == before


@pytest.mark.parametrize("size", [CHUNK - 1, CHUNK + 1])
def test_a_copy_can_be_given_up(file: Path, size: int) -> None:
    os.truncate(file, size)
    stop = Stop()
    stop.set()
    before = open_files()
    with Checksums(1) as checksums, pytest.raises(Cancelled):
        send(file, checksums, stop=stop)
    assert open_files() == before


@pytest.mark.parametrize("size", [3, CHUNK + 3])
@pytest.mark.parametrize("limit", [0, 1 << 30])
def test_a_file_that_grows_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, limit: int
) -> None:
    monkeypatch.setattr(staged_file, "READ_TWICE", limit)
    (tmp_path / "staging").mkdir()
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "log").write_bytes(bytes(size))

    class Growing(NoProgress):
        def advance(self, files: int, size: int) -> None:
            with (tmp_path / "source" / "log").open("ab") as file:
                file.write(b"more")

    def read(descriptor: int, count: int) -> bytes:
        data = real(descriptor, count)
        Growing().advance(0, 0)
        return data

    real = os.read
    monkeypatch.setattr(staged_file.os, "read", read)  # a small file is read at once
    with (
        Checksums(1) as checksums,
        pytest.raises(Fault, match=r"log.* changed while it was copied"),
    ):
        stage(
            str(tmp_path / "source"),
            StagingDirectory(str(tmp_path / "staging")),
            ignore_dot=True,
            concurrent=1,
            progress=Growing(),
            checksums=checksums,
        )
    assert list((tmp_path / "staging").iterdir()) == []
