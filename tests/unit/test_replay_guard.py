"""A request is carried out at most once (protocol, section 3 and section 9, number 9)."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gobbler.errors import Refused
from gobbler.spool.replay_guard import _NO_LINKS, FORGET_AFTER, MARK, ReplayGuard


@pytest.fixture
def memory(tmp_path: Path) -> ReplayGuard:
    (tmp_path / "memory").mkdir()
    return ReplayGuard(str(tmp_path / "memory"))


@pytest.fixture
def request_file(tmp_path: Path) -> Path:
    path = tmp_path / "request-upload-1"
    path.write_text("{}")
    return path


def test_the_same_file_begins_once_under_whatever_name(
    memory: ReplayGuard, request_file: Path
) -> None:
    memory.begin("one", request_file.stat())
    with pytest.raises(Refused, match='already being processed: "other"') as caught:
        memory.begin("other", request_file.stat())
    assert caught.value.hint


def test_another_process_and_a_restart_know_it_too(
    memory: ReplayGuard, request_file: Path, tmp_path: Path
) -> None:
    memory.begin("one", request_file.stat())
    with pytest.raises(Refused):
        ReplayGuard(str(tmp_path / "memory")).begin("one", request_file.stat())


def _rewrite(path: Path) -> None:
    path.write_text("{}")


def _exchange(path: Path) -> None:
    path.with_name("new").write_text("{}")
    path.with_name("new").rename(path)


@pytest.mark.parametrize("change", [_rewrite, _exchange])
def test_a_corrected_request_is_a_new_one(
    memory: ReplayGuard, request_file: Path, change: Callable[[Path], None]
) -> None:
    memory.begin("one", request_file.stat())
    before = request_file.stat().st_ctime_ns
    while request_file.stat().st_ctime_ns == before:  # the clock of files ticks slowly
        time.sleep(0.002)
        change(request_file)
    memory.begin("one", request_file.stat())


def test_one_of_many_at_a_time_begins(memory: ReplayGuard, request_file: Path) -> None:
    start = threading.Barrier(16)

    def begin(_: int) -> bool:
        status = request_file.stat()
        start.wait(30)
        try:
            memory.begin("one", status)
        except Refused:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(begin, range(16))) == 1


def marks(directory: Path) -> list[Path]:
    return [path for path in (directory / "memory").iterdir() if path.name != MARK]


@pytest.mark.parametrize("number", _NO_LINKS)
def test_it_holds_where_there_are_no_hard_links(
    memory: ReplayGuard,
    request_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", refuse)
    memory.begin("one", request_file.stat())
    assert len(marks(tmp_path)) == 1
    with pytest.raises(Refused):
        memory.begin("one", request_file.stat())


def test_marks_go_on_where_one_file_has_all_the_names_it_may_have(
    memory: ReplayGuard, request_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.link

    def few(old: str, new: str) -> None:
        if os.stat(old).st_nlink == 3:
            raise OSError(errno.EMLINK, os.strerror(errno.EMLINK))
        real(old, new)

    monkeypatch.setattr(os, "link", few)
    seen = []
    for _ in range(5):
        _exchange(request_file)
        seen.append(request_file.stat())
        request_file.rename(tmp_path / f"kept-{len(seen)}")  # so that its inode is not used again
        request_file.write_text("{}")
        memory.begin("one", seen[-1])
    assert len(marks(tmp_path)) == 5
    for status in seen:
        with pytest.raises(Refused):
            memory.begin("one", status)


def test_only_what_is_far_too_old_is_forgotten(
    memory: ReplayGuard, request_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert FORGET_AFTER > 120, "a request expires after a minute"
    memory.begin("one", request_file.stat())
    memory.forget_old()
    with pytest.raises(Refused):
        memory.begin("one", request_file.stat())
    memory.note(request_file.stat())
    (note,) = (tmp_path / "memory").glob("*-taken-*")
    os.utime(note, (time.time() - FORGET_AFTER - 60,) * 2)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + FORGET_AFTER - 60)
    memory.forget_old()
    with pytest.raises(Refused):
        memory.begin("one", request_file.stat())
    assert not note.exists()
    monkeypatch.setattr(time, "time", lambda: now + FORGET_AFTER + 60)
    memory.forget_old()
    assert marks(tmp_path) == []


def test_what_another_service_forgot_meanwhile_is_no_fault(
    memory: ReplayGuard, request_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.note(request_file.stat())
    (note,) = (tmp_path / "memory").iterdir()
    os.utime(note, (0, 0))
    real = os.unlink

    def twice(path: str) -> None:
        real(path)
        real(path)

    monkeypatch.setattr(os, "unlink", twice)
    memory.forget_old()
