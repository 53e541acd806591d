"""Discarded trees are set aside at once, and removed by whoever comes to it."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from gobbler.fs import removal, reserve, space
from gobbler.fs.open import DIRECTORY
from gobbler.registry import discarded, remover
from gobbler.registry.discarded import (
    Freed,
    discard,
    discarded_trees,
    is_discarded,
    make_room,
    remove_discarded,
    size_of_discarded,
)
from gobbler.registry.remover import Remover


@pytest.fixture
def registry(tmp_path: Path) -> str:
    (tmp_path / "..incoming").mkdir()
    return str(tmp_path)


def made(registry: str, name: str = "w") -> str:
    """A workspace with a tree of many files, one of which is a link to a file outside."""
    tree = Path(registry, "..incoming", name, "tree/d")
    tree.mkdir(parents=True)
    (tree / "f").write_text("x")
    Path(registry, "kept").write_text("kept")
    (tree / "link").symlink_to(f"{registry}/kept")
    for number in range(discarded.FEW_ENTRIES - 3):
        (tree / str(number)).touch()
    return f"{registry}/..incoming/{name}"


def incoming(registry: str) -> list[str]:
    return sorted(os.listdir(f"{registry}/..incoming"))


def test_a_tree_is_set_aside_and_its_space_is_known(registry: str) -> None:
    discard(made(registry), Freed("weather", 4096))
    discard(made(registry, "v"), Freed("other", 7))
    discard(made(registry, "u"))
    assert all(map(is_discarded, incoming(registry)))
    assert [tree.size for tree in discarded_trees(registry)] == [4096, 7, 0]
    assert size_of_discarded(registry, "weather") == 4096
    assert size_of_discarded(registry, "none") == 0
    remove_discarded(registry)
    assert discarded_trees(registry) == []
    assert Path(registry, "kept").read_text() == "kept"


def test_a_few_files_are_removed_at_once(registry: str) -> None:
    path = Path(made(registry))
    (path / "tree/d/f").unlink()
    discard(str(path))
    assert incoming(registry) == []


def test_it_is_removed_at_once_where_space_is_short(
    registry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discarded, "is_short", lambda path: path.startswith(registry))
    discard(made(registry))
    assert incoming(registry) == []


def test_it_is_removed_at_once_by_who_draws_on_the_reserve(registry: str) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    calls = []

    def relieve() -> None:
        calls.append(reserve.is_drawn_on())
        if len(calls) == 1:
            raise full
        discard(made(registry))

    kept = reserve.Reserve(f"{registry}/reserve")
    kept.fill()
    reserve.with_reserve([kept], relieve)
    assert calls == [False, True]
    assert incoming(registry) == []
    assert not reserve.is_drawn_on()


def test_it_is_removed_at_once_if_it_can_not_be_renamed(
    registry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(old: str, new: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), old, None, new)

    path = made(registry)
    monkeypatch.setattr(os, "rename", fail)
    discard(path)
    assert incoming(registry) == []


def test_whoever_was_taken_over_discards_nothing(registry: str) -> None:
    os.rename(made(registry), f"{registry}/..incoming/another")
    with pytest.raises(FileNotFoundError):
        discard(f"{registry}/..incoming/w")
    assert incoming(registry) == ["another"]


def test_room_is_made_until_it_suffices(registry: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abc":
        discard(made(registry, name))
    monkeypatch.setattr(
        discarded, "fits", lambda _, needed: len(discarded_trees(registry)) <= needed
    )
    make_room(registry, 2)
    assert len(discarded_trees(registry)) == 2


def test_the_remover_removes_what_no_other_is_at(registry: str) -> None:
    counted: list[int] = []
    for name in "ab":
        discard(made(registry, name))
    taken, free = discarded_trees(registry)
    held = os.open(f"{registry}/..incoming/{taken.name}", DIRECTORY)
    fcntl.flock(held, fcntl.LOCK_EX)
    Remover(registry, counted.append).remove_all()
    assert discarded_trees(registry) == [taken]
    assert sum(counted) == discarded.FEW_ENTRIES + 1, "two directories and the files in them"
    os.close(held)
    Remover(registry).remove_all()
    assert discarded_trees(registry) == []
    assert free.name > taken.name


def test_what_can_not_be_removed_is_told_once_and_tried_again(
    registry: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    discard(made(registry))
    real = os.unlink

    def refuse(path: str, *, dir_fd: int | None = None) -> None:
        if path == "f":
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        real(path, dir_fd=dir_fd)

    tried = Remover(registry)
    with monkeypatch.context() as patched:
        patched.setattr(os, "unlink", refuse)
        tried.remove_all()
        tried.remove_all()
    assert caplog.text.count("could not remove all of") == 1
    assert len(discarded_trees(registry)) == 1
    tried.remove_all()
    assert discarded_trees(registry) == []


def test_it_rests_after_work_but_not_where_space_is_short(
    registry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rests: list[float] = []
    now = 0.0

    def monotonic() -> float:
        nonlocal now
        now += 0.015
        return now

    monkeypatch.setattr(remover.time, "sleep", rests.append)
    monkeypatch.setattr(remover.time, "monotonic", monotonic)
    monkeypatch.setattr(remover, "STEPS", 1)
    for short in (True, False):
        monkeypatch.setattr(remover, "is_short", lambda _, short=short: short)
        discard(made(registry))
        Remover(registry).remove_all()
        assert bool(rests) is not short
    assert all(0.02 < rest <= remover.LONGEST_REST for rest in rests)


def test_nothing_on_another_filesystem_is_removed(
    registry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    discard(made(registry))
    real = os.fstat
    entered = {
        os.stat(directory / "d").st_ino for directory in Path(registry, "..incoming").glob("*/tree")
    }

    def fstat(descriptor: int) -> os.stat_result:
        found = real(descriptor)
        fields = list(found)
        if found.st_ino in entered:
            fields[2] += 1
        return os.stat_result(fields)

    monkeypatch.setattr(removal.os, "fstat", fstat)
    Remover(registry).remove_all()
    monkeypatch.undo()
    (tree,) = discarded_trees(registry)
    assert Path(registry, "..incoming", tree.name, "tree/d/f").read_text() == "x"


def test_a_running_remover_removes_what_is_there_and_what_comes_and_nothing_else(
    registry: str,
) -> None:
    def wait_until_none() -> None:
        deadline = time.monotonic() + 60
        while discarded_trees(registry):
            assert time.monotonic() < deadline
            time.sleep(0.005)

    kept = made(registry, "a workspace")
    discard(made(registry))
    threading.Thread(target=Remover(registry).run, daemon=True).start()
    wait_until_none()
    for _ in range(3):
        discard(made(registry))
        wait_until_none()
    assert incoming(registry) == [os.path.basename(kept)]
    assert len(os.listdir(f"{kept}/tree/d")) == discarded.FEW_ENTRIES - 1


def test_space_is_short_by_bytes_or_by_inodes(monkeypatch: pytest.MonkeyPatch) -> None:

    def statvfs(free: int, inodes: int, total: int = 6400) -> None:
        found = (1, 1, total, free, free, total, inodes, inodes, 0, 255)
        monkeypatch.setattr(space.os, "statvfs", lambda _: os.statvfs_result(found))

    for free, inodes, expected in ((100, 100, False), (99, 100, True), (100, 99, True)):
        statvfs(free, inodes)
        assert space.is_short("/") is expected
    statvfs(space.AMPLE_BYTES, space.AMPLE_INODES, 1 << 50)
    assert not space.is_short("/")
    statvfs(space.AMPLE_BYTES - 1, space.AMPLE_INODES, 1 << 50)
    assert space.is_short("/")


@pytest.mark.parametrize("kind", [OSError, KeyboardInterrupt])
@pytest.mark.parametrize("name", ["open", "scandir", "unlink", "rmdir", "listdir"])
def test_a_removal_that_ends_at_any_call_is_completed_later(
    registry: str, monkeypatch: pytest.MonkeyPatch, kind: type[BaseException], name: str
) -> None:
    kept = made(registry, "kept-workspace")
    real = getattr(os, name)
    ended = 0
    while True:
        calls = 0

        def fail(*args: object, at: int = ended, **options: object) -> object:
            nonlocal calls
            calls += 1
            if calls == at + 1:
                raise kind(errno.EIO, os.strerror(errno.EIO))
            return real(*args, **options)

        discard(made(registry))
        with monkeypatch.context() as patched:
            patched.setattr(os, name, fail)
            with suppress(OSError, KeyboardInterrupt):
                Remover(registry).remove_all()
        Remover(registry).remove_all()
        assert incoming(registry) == [os.path.basename(kept)]
        if calls <= ended:
            break
        ended += 1
    assert ended > 0
    assert len(os.listdir(f"{kept}/tree/d")) == discarded.FEW_ENTRIES - 1
    assert Path(registry, "kept").read_text() == "kept"
