"""Claims of a FileStore that come in each other's way, or whose process is killed at any call."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gobbler.filestore import FileStore, names
from gobbler.filestore import claim as claims
from gobbler.fs import atomic_write

from .claiming import everything, in_a_child, inside, put, store

__all__ = ["store"]


def test_a_late_requeue_does_not_take_a_file_that_was_claimed_again(
    store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, "a")
    in_a_child(store.claim)
    real = claims.rename_new
    ingested: list[Any] = []

    def late(source: str, target: str) -> None:
        monkeypatch.setattr(claims, "rename_new", real)
        os.rename(source, target)  # meanwhile another one puts it back,
        ingested.append(FileStore(store.path).claim())  # and a third claims it
        real(source, target)

    monkeypatch.setattr(claims, "rename_new", late)
    assert store.requeue() == []
    assert ingested[0].is_held()


def test_a_release_does_not_replace_a_file_that_was_published_meanwhile(
    store: FileStore,
) -> None:
    put(store, "a")
    claim = store.claim()
    assert claim
    Path(store.path, "new", "a").write_text("another a")
    claim.release()
    contents = {Path(path).read_text() for path in store.list("new")}
    assert contents == {"a", "another a"}
    both = list(iter(store.claim, None))
    assert [found.name for found in both] == ["a", "a"]


def test_where_renames_replace_what_comes_back_has_a_name_of_its_own(
    store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(atomic_write, "_renameat2", None)
    put(store, "a")
    claim = store.claim()
    assert claim
    claim.release()
    (name,) = inside(store, "new")
    assert names.published_name(name) == "a"
    again = store.claim()
    assert again
    assert again.name == "a"


def test_a_success_that_the_server_reports_as_a_failure_is_a_success(
    store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, "a")
    real = os.rename

    def twice(source: str, target: str) -> None:
        real(source, target)
        real(source, target)  # the answer to the first was lost on the way

    monkeypatch.setattr(claims.os, "rename", twice)
    assert store.claim()


def test_what_can_not_be_put_back_does_not_keep_the_rest(
    store: FileStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    put(store, "a", "b")
    in_a_child(lambda: (store.claim(), store.claim()))
    real = claims.rename_new

    def refuse(source: str, target: str) -> None:
        if target.endswith("/a"):
            raise PermissionError(13, "Permission denied", source)
        real(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(claims, "rename_new", refuse)
        assert store.requeue() == ["b"]
    assert "could not put back" in caplog.text
    assert store.requeue() == ["a"], "its claimant is still known to be dead"


CALLS = ("open", "rename", "unlink", "fsync", "fstat", "fchmod", "write", "close", "listdir")


def die_before(left: int, work: Callable[[], object]) -> None:
    """Do ``work``, but be killed after ``left`` calls."""
    real = {name: getattr(os, name) for name in CALLS}

    def counted(name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal left
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1
            return real[name](*arguments, **options)

        return call

    for name in CALLS:
        setattr(os, name, counted(name))
    work()


def kills(work: Callable[[], object]) -> Iterator[int]:
    """Do ``work`` in a child that is killed before its first, second, ... call; until it ends."""
    for number in itertools.count():
        child = os.fork()
        if child == 0:
            code = 1
            try:
                die_before(number, work)
                code = 0
            finally:
                os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        yield number
        if code == 0:
            return
        assert code == -signal.SIGKILL


@pytest.mark.parametrize("ending", ["done", "release", "requeue"])
def test_killed_before_any_call_nothing_is_lost_and_nothing_stays(
    tmp_path: Path, ending: str
) -> None:
    store = FileStore(tmp_path / "store")
    store.prepare()

    def work() -> None:
        if ending == "requeue":
            store.requeue()
        else:
            claim = store.claim()
            assert claim
            getattr(claim, ending)()

    def prepare() -> None:
        put(store, "a")
        if ending == "requeue":
            in_a_child(store.claim)

    prepare()
    seen = set()
    for number in kills(work):
        FileStore(store.path).requeue()
        names = everything(store)
        assert names in ([], ["a"]), f"killed before call {number}"
        assert names == ["a"] or ending == "done"
        seen.add(tuple(names))
        for path in store.list("new"):
            os.unlink(path)
        prepare()
    assert number > 6
    assert seen == ({("a",), ()} if ending == "done" else {("a",)})
