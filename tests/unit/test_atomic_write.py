"""A reader sees the old record or the new one, never half of one."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gobbler.errors import Fault
from gobbler.fs.atomic_write import remove_quietly, replace, write_all, write_new


@pytest.fixture(params=[0o022, 0o077, 0o002])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    """Whatever the process began with."""
    former = os.umask(request.param)
    yield request.param
    os.umask(former)


def test_a_new_file_holds_the_content(tmp_path: Path) -> None:
    write_new(str(tmp_path / "f"), b"content")
    assert (tmp_path / "f").read_bytes() == b"content"


def test_a_file_that_exists_is_never_overwritten_as_new(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"old")
    (tmp_path / "l").symlink_to("elsewhere")
    for name in ("f", "l"):
        with pytest.raises(FileExistsError):
            write_new(str(tmp_path / name), b"new")
    assert (tmp_path / "f").read_bytes() == b"old"
    assert not (tmp_path / "elsewhere").exists()


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, bytes(data)[:3]))
    write_new(str(tmp_path / "f"), b"a longer content")
    assert (tmp_path / "f").read_bytes() == b"a longer content"


def test_nothing_to_write_is_fine(tmp_path: Path) -> None:
    with (tmp_path / "f").open("wb") as handle:
        write_all(handle.fileno(), b"")
    assert (tmp_path / "f").read_bytes() == b""


@pytest.mark.parametrize("flush", [False, True])
def test_replacing_leaves_nothing_but_the_new_content(tmp_path: Path, flush: bool) -> None:
    for content in (b"one", b"another"):
        replace(str(tmp_path / "..record"), content, flush=flush)
        assert (tmp_path / "..record").read_bytes() == content
    assert os.listdir(tmp_path) == ["..record"]


def test_a_link_is_replaced_itself_and_not_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"untouched")
    (tmp_path / "link").symlink_to("target")
    replace(str(tmp_path / "link"), b"new", flush=False)
    assert (tmp_path / "target").read_bytes() == b"untouched"
    assert not (tmp_path / "link").is_symlink()


def test_all_can_read_what_was_written_under_a_common_umask(tmp_path: Path) -> None:
    former = os.umask(0o022)
    try:
        write_new(str(tmp_path / "new"), b"")
        replace(str(tmp_path / "replaced"), b"", flush=False)
    finally:
        os.umask(former)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o644}


def test_nobody_else_can_write_it_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    write_new(str(tmp_path / "new"), b"")
    replace(str(tmp_path / "replaced"), b"", flush=False)
    assert not any(path.stat().st_mode & 0o022 for path in tmp_path.iterdir())


@pytest.mark.parametrize("failing", ["open", "write", "fsync", "rename"])
def test_when_it_fails_the_old_content_stays_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    (tmp_path / "record").write_bytes(b"old")

    def fail(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, failing, fail)
        with pytest.raises((OSError, Fault), match="No space"):
            replace(str(tmp_path / "record"), b"new", flush=True)
    assert os.listdir(tmp_path) == ["record"]
    assert (tmp_path / "record").read_bytes() == b"old"


def test_the_content_is_flushed_before_the_name_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    for name in ("write", "fsync", "rename"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, n=name, r=real: (calls.append(n), r(*a))[1])
    replace(str(tmp_path / "record"), b"new", flush=True)
    assert calls == ["write", "fsync", "rename"]


def test_a_reader_never_sees_half_of_it(tmp_path: Path) -> None:
    path = tmp_path / "record"
    contents = [letter * 300_000 for letter in (b"a", b"b")]
    replace(str(path), contents[0], flush=False)
    stop = threading.Event()

    def write() -> None:
        turn = 0
        while not stop.is_set():
            turn += 1
            replace(str(path), contents[turn % 2], flush=False)

    writers = [threading.Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    try:
        seen = {path.read_bytes() for _ in range(300)}
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    assert seen <= set(contents)
    assert os.listdir(tmp_path) == ["record"]


def test_removing_is_quiet_about_what_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"")
    for _ in range(2):
        remove_quietly(str(tmp_path / "f"))
    remove_quietly(str(tmp_path))
    assert tmp_path.is_dir()
    assert os.listdir(tmp_path) == []
