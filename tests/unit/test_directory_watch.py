"""The names in directories are followed, by inotify or by looking, and idle costs nothing."""

from __future__ import annotations

import errno
import os
import threading
import time
from pathlib import Path

import pytest

from gobbler.fs import directory_watch, inotify
from gobbler.fs.directory_watch import DirectoryWatch
from gobbler.fs.inotify import Inotify


@pytest.fixture(params=[False, True], ids=["inotify", "looking"])
def remote(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(directory_watch, "LISTING_SHARE", 0)
    return bool(request.param)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    return tmp_path


def watch(place: Path, remote: bool | None) -> DirectoryWatch:
    return DirectoryWatch((f"{place}/one", f"{place}/two"), remote=remote)


def test_each_name_that_appears_or_vanishes_is_reported(place: Path, remote: bool) -> None:
    (place / "one/before").touch()
    found = watch(place, remote)
    assert found.refresh() == {f"{place}/one": {"before"}, f"{place}/two": set()}
    (place / "one/a").touch()
    os.rename(place / "one/before", place / "two/moved")
    changed = found.refresh()
    assert changed == {f"{place}/one": {"before", "a"}, f"{place}/two": {"moved"}}
    assert found.names(f"{place}/one") == {"a"}
    (place / "one/a").unlink()
    assert found.refresh()[f"{place}/one"] == {"a"}
    assert found.names(f"{place}/one") == set()
    assert not any(found.refresh().values())


def test_names_that_are_no_text_are_names_too(place: Path, remote: bool) -> None:
    found = watch(place, remote)
    found.refresh()
    name = os.fsdecode(b"bytes-\xff")
    (place / "one" / name).touch()
    assert found.refresh()[f"{place}/one"] == {name}


def test_more_changes_than_the_kernel_remembers(place: Path) -> None:
    """The queue of inotify overflows; a listing finds the rest."""
    found = watch(place, remote=False)
    found.refresh()
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    for number in range(limit // 2 + 100):
        path = place / "one" / f"{number % 50}"
        path.touch()
        path.unlink()
    (place / "two/last").touch()
    assert "last" in found.refresh()[f"{place}/two"]
    assert found.names(f"{place}/one") == set()


def test_a_directory_that_is_made_anew_is_followed_again(place: Path, remote: bool) -> None:
    found = watch(place, remote)
    (place / "one/a").touch()
    found.refresh()
    (place / "one/a").unlink()
    (place / "one").rmdir()
    with pytest.raises(FileNotFoundError):
        found.refresh()
    (place / "one").mkdir()
    (place / "one/b").touch()
    assert found.refresh()[f"{place}/one"] == {"b"}
    assert found.names(f"{place}/one") == {"b"}
    (place / "one/c").touch()
    assert found.refresh()[f"{place}/one"] == {"c"}


def test_a_directory_that_is_only_needed_must_be_there(place: Path, remote: bool) -> None:
    (place / "needed").mkdir()
    found = DirectoryWatch((f"{place}/one",), needed=[f"{place}/needed"], remote=remote)
    found.refresh()
    (place / "needed/x").touch()
    assert found.refresh() == {f"{place}/one": set()}
    os.rename(place / "needed", place / "away")
    with pytest.raises(FileNotFoundError):
        found.refresh()


def test_what_was_read_before_an_error_is_reported_after_it(
    place: Path, remote: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = watch(place, remote)
    (place / "one/a").touch()
    real = os.listdir

    def fail(_: int) -> list[str]:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(os, "listdir", fail)
    with pytest.raises(OSError, match="broken"):
        found.refresh()
    monkeypatch.setattr(os, "listdir", real)
    assert found.refresh()[f"{place}/one"] == {"a"}


def test_a_change_ends_the_wait(place: Path) -> None:
    found = watch(place, remote=False)
    found.refresh()
    threading.Timer(0.1, (place / "one/a").touch).start()
    began = time.monotonic()
    found.wait(600)
    assert time.monotonic() - began < 300
    assert found.refresh()[f"{place}/one"] == {"a"}


def test_waking_ends_the_wait_even_if_it_comes_first(place: Path, remote: bool) -> None:
    found = watch(place, remote)
    found.wake()
    began = time.monotonic()
    found.wait(600)
    assert time.monotonic() - began < 300


def test_without_inotify_it_looks_and_says_so_once(
    place: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(self: Inotify) -> None:
        raise OSError(errno.EMFILE, "too many instances")

    monkeypatch.setattr(inotify.Inotify, "__init__", fail)
    found = watch(place, None)
    for number in range(3):
        (place / "one" / f"{number}").touch()
        found._next_start = found._directories[f"{place}/one"]._next_listing = -1e9
        assert found.refresh()[f"{place}/one"] == {f"{number}"}
    assert caplog.text.count("too many instances") == 1


def test_the_pauses_grow_while_nothing_changes(place: Path) -> None:
    found = watch(place, remote=True)
    found.refresh()
    for _ in range(20):
        found.refresh()
    assert found._pause == directory_watch.LONGEST_PAUSE
    (place / "one/a").touch()
    found._directories[f"{place}/one"]._next_listing = -1e9
    found.refresh()
    assert found._pause == directory_watch.FIRST_PAUSE


def test_a_directory_that_did_not_change_is_not_listed_again(
    place: Path, monkeypatch: pytest.MonkeyPatch, remote: bool
) -> None:
    found = watch(place, remote)
    now = [time.monotonic()]
    monkeypatch.setattr(directory_watch.time, "monotonic", lambda: now[0])
    listed: list[int] = []
    real = os.listdir
    monkeypatch.setattr(os, "listdir", lambda fd: (listed.append(fd), real(fd))[1])
    for _ in range(40):
        now[0] += 1
        found.refresh()
        assert found.as_of == now[0]
    assert len(listed) <= 2 * 5, "as long as its time could be too coarse to tell"
