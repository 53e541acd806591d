"""Watching a FileStore: new files are reported at once, or at the next listing."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gobbler.filestore import FileStore, watch
from gobbler.fs import mounts

PUBLISH = """
import sys
from gobbler.filestore import FileStore
with FileStore(sys.argv[1]).publish("x"):
    pass
"""


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    made = FileStore(tmp_path / "store")
    made.prepare()
    return made


class Watcher:
    """Watches in a thread."""

    def __init__(self, store: FileStore, poll: float | None) -> None:
        self.stop = threading.Event()
        self.found: queue.Queue[str] = queue.Queue()
        self.errors: list[BaseException] = []
        self._thread = threading.Thread(target=self._watch, args=(store, poll))
        self._thread.start()

    def _watch(self, store: FileStore, poll: float | None) -> None:
        try:
            for path in store.watch(poll=poll, stop=self.stop):
                self.found.put(os.path.basename(path))
        except BaseException as error:  # noqa: BLE001 - the test checks it
            self.errors.append(error)

    def next(self) -> str:
        return self.found.get(timeout=60)

    def end(self) -> list[str]:
        """Stop; what was found that nobody has asked for."""
        self.stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive()
        return list(self.found.queue)


@pytest.fixture(params=[None, 0.02], ids=["inotify", "polling"])
def watcher(store: FileStore, request: pytest.FixtureRequest) -> Iterator[Watcher]:
    with store.publish("before"):
        pass
    made = Watcher(store, request.param)
    yield made
    made.end()
    assert made.errors == []


def test_what_waits_and_what_comes_is_reported_once(store: FileStore, watcher: Watcher) -> None:
    assert watcher.next() == "before"
    with store.publish("python"):
        pass
    assert watcher.next() == "python"
    shell = f"echo x > '{store.path}/tmp/shell'; mv '{store.path}/tmp/shell' '{store.path}/new/'"
    subprocess.run(["sh", "-c", shell], check=True)
    assert watcher.next() == "shell"
    with store.publish(".hidden"):
        pass
    with store.publish("last"):
        pass
    assert watcher.next() == "last"
    assert watcher.end() == []


def test_what_comes_back_is_reported_again(store: FileStore, watcher: Watcher) -> None:
    assert watcher.next() == "before"
    claim = store.claim("before")
    assert claim
    claim.release()
    assert watcher.next() == "before"
    with store.publish("before", replace=True):
        pass
    assert watcher.next() == "before"


def test_many_files_at_once(store: FileStore, watcher: Watcher) -> None:
    expected = {"before"} | {f"file-{number}" for number in range(500)}
    for number in range(500):
        with store.publish(f"file-{number}"):
            pass
    assert {watcher.next() for _ in expected} == expected
    assert watcher.end() == []


def test_another_process_is_heard(store: FileStore, watcher: Watcher) -> None:
    assert watcher.next() == "before"
    subprocess.run([sys.executable, "-c", PUBLISH, str(store.path)], check=True)
    assert watcher.next() == "x"


def test_without_inotify_it_looks(
    store: FileStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(directory: str, stop: threading.Event) -> Iterator[None]:
        raise OSError("no more watches")
        yield

    monkeypatch.setattr(watch, "_inotify", fail)
    monkeypatch.setattr(watch, "LIST_EVERY", 0.01)
    watcher = Watcher(store, None)
    with store.publish("a"):
        pass
    assert watcher.next() == "a"
    assert watcher.end() == []
    assert "no more watches" in caplog.text


def test_remote_filesystems_are_polled(
    store: FileStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def heard(*_: object) -> Iterator[None]:
        pytest.fail("inotify does not tell what other hosts do")

    table = tmp_path / "mountinfo"
    monkeypatch.setattr(mounts, "MOUNTINFO", str(table))
    monkeypatch.setattr(watch, "LIST_EVERY", 0.01)
    for kind, local in (("ext4", True), ("nfs4", False), ("fuse.x", False), ("lustre", False)):
        table.write_text(
            f"1 0 8:1 / / rw - ext4 /dev/a rw\n2 1 0:9 / {tmp_path} rw - {kind} b rw\n"
        )
        assert mounts.reports_all_changes(str(store.path)) is local
    table.write_text("")  # as in a chroot: the filesystem itself tells its kind
    local = {"ext2/ext3", "tmpfs", "overlayfs", "xfs", "btrfs"}
    kind = subprocess.run(
        ["stat", "--file-system", "--format=%T", tmp_path],
        capture_output=True,
        text=True,
        check=True,
    )
    assert mounts.reports_all_changes(str(store.path)) is (kind.stdout.strip() in local)
    assert not mounts.reports_all_changes("/proc/self")
    table.unlink()
    assert not mounts.reports_all_changes(str(store.path))
    monkeypatch.setattr(watch, "_inotify", heard)
    watcher = Watcher(store, None)
    with store.publish("a"):
        pass
    assert watcher.next() == "a"
    assert watcher.end() == []
    assert watcher.errors == []


def test_a_directory_that_does_not_change_is_not_read_again(
    store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store.publish("a"):
        pass
    listing = watch._Listing(f"{store.path}/new")
    looks: list[int] = []
    real = watch._list
    monkeypatch.setattr(watch, "_list", lambda fd: (looks.append(fd), real(fd))[1])
    start = time.monotonic()
    now = [start]
    monkeypatch.setattr(watch.time, "monotonic", lambda: now[0])
    assert listing.new_names() == ["a"]
    for _ in range(10):
        now[0] += 1
        assert listing.new_names() == []
    assert 2 <= len(looks) <= 5, "as long as its time could be too coarse to tell"
    with store.publish("b"):
        pass
    assert listing.new_names() == ["b"]


def test_it_ends_at_once_if_stopped_before(store: FileStore) -> None:
    stop = threading.Event()
    stop.set()
    with store.publish("a"):
        pass
    assert list(store.watch(stop=stop)) == []


def test_a_store_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        next(FileStore(tmp_path / "missing").watch())
