"""A request is carried out at most once (protocol, section 3 and section 9, number 9)."""

from __future__ import annotations

import errno
import os
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gobbler.errors import Code, Fault, Refused
from gobbler.spool.replay_guard import _NO_LINKS, FORGET_AFTER, MADE, MARK, ReplayGuard


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
    found = (directory / "memory").rglob("*")
    return [path for path in found if path.is_file() and path.name not in (MARK, MADE)]


@pytest.mark.parametrize("number", _NO_LINKS)
def test_it_holds_where_there_are_no_hard_links(
    memory: ReplayGuard,
    request_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
) -> None:
    def refuse(*_: object, **__: int) -> None:
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

    def few(old: str, new: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        if os.stat(old, dir_fd=src_dir_fd).st_nlink == 3:
            raise OSError(errno.EMLINK, os.strerror(errno.EMLINK))
        real(old, new, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

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
    (note,) = (tmp_path / "memory").rglob("*-taken-*")
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
    (note,) = marks(tmp_path)
    os.utime(note, (0, 0))
    real = os.unlink

    def twice(path: str, *, dir_fd: int) -> None:
        real(path, dir_fd=dir_fd)
        real(path, dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", twice)
    memory.forget_old()


# When something removes the directory, as another service's purge of staging does


def written_later(path: Path, than: Path) -> None:
    """Write ``path`` so that it is newer than a file; the clock of files ticks slowly."""
    while not path.exists() or path.stat().st_mtime_ns <= than.stat().st_mtime_ns:
        time.sleep(0.002)
        path.write_text("{}")


@pytest.mark.parametrize("who", ["itself", "another process", "nobody"])
def test_what_may_have_begun_before_the_marks_were_lost_is_refused(
    memory: ReplayGuard, request_file: Path, tmp_path: Path, who: str
) -> None:
    memory.begin("one", request_file.stat())
    shutil.rmtree(tmp_path / "memory")
    if who == "itself":
        memory.restore()
    elif who == "another process":
        other = tmp_path / "request-upload-2"
        other.write_text("{}")
        with pytest.raises(Refused, match="made anew"):
            ReplayGuard(str(tmp_path / "memory")).begin("two", other.stat())
    with pytest.raises(Refused, match="made anew") as refused:
        memory.begin("one", request_file.stat())
    assert refused.value.code == Code.EXPIRED_REQUEST
    written_later(request_file, tmp_path / "memory" / MADE)
    memory.begin("one", request_file.stat())
    with pytest.raises(Refused, match="already"):
        memory.begin("one", request_file.stat())
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["memory"]


def test_a_request_that_was_moved_into_the_inbox_after_the_loss_may_have_begun(
    memory: ReplayGuard, request_file: Path, tmp_path: Path
) -> None:
    before = request_file.stat()
    shutil.rmtree(tmp_path / "memory")
    assert not memory.knows(before), "it waited there already"
    made = tmp_path / "memory" / MADE
    while request_file.stat().st_ctime_ns <= made.stat().st_mtime_ns:
        time.sleep(0.002)
        # To another name each time: a rename to the same one changes nothing.
        request_file = request_file.rename(request_file.with_name(f"{request_file.name}0"))
    assert memory.knows(request_file.stat())
    written_later(request_file, made)
    assert not memory.knows(request_file.stat())


def test_every_call_makes_the_directory_anew(
    memory: ReplayGuard, request_file: Path, tmp_path: Path
) -> None:
    calls: list[Callable[[], object]] = [
        lambda: memory.note(request_file.stat()),
        lambda: memory.knows(request_file.stat()),
        memory.forget_old,
        memory.keep_young,
        memory.restore,
    ]
    for call in calls:
        call()
        shutil.rmtree(tmp_path / "memory")
        call()
        memory.note(request_file.stat())
        assert (tmp_path / "memory").stat().st_mode & 0o777 == 0o700


def test_a_directory_of_somebody_else_is_not_used(
    memory: ReplayGuard, request_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(Fault, match="another account"):
        memory.begin("one", request_file.stat())


def test_a_link_in_its_place_is_not_followed(
    memory: ReplayGuard, request_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "memory").rmdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "memory").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="memory"):
        memory.begin("one", request_file.stat())
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_it_does_not_look_old(memory: ReplayGuard, request_file: Path, tmp_path: Path) -> None:
    memory.begin("one", request_file.stat())
    for path in (tmp_path / "memory", tmp_path / "memory" / MARK):
        os.utime(path, (0, 0))
    memory.keep_young()
    for path in (tmp_path / "memory", tmp_path / "memory" / MARK):
        assert time.time() - path.stat().st_mtime < 3600


def test_finding_a_mark_reads_those_of_one_second(
    memory: ReplayGuard, request_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed: list[int] = []
    real = os.listdir
    monkeypatch.setattr(os, "listdir", lambda fd: listed.append(len(found := real(fd))) or found)
    for second in range(50):
        os.utime(request_file, (second, second))
        memory.begin("one", request_file.stat())
    assert memory.knows(request_file.stat())
    assert listed == [1]
