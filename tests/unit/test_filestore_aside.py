"""What no process can take is set aside: it ends no worker, and is not found again."""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from gobbler.filestore import ClaimLost, FileStore, aside, names

from .claiming import inside, put


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    made = FileStore(tmp_path / "store")
    made.prepare()
    return made


def spoil(new: Path) -> list[str]:
    """Put everything there that can't be handled; the names."""
    (new / "a-link").symlink_to("/etc/passwd")
    (new / "b-dangling").symlink_to("nowhere")
    os.mkfifo(new / "c-fifo")
    (new / "d-directory").mkdir()
    (new / "d-directory/inside").touch()
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.open(new, os.O_RDONLY)
        try:
            listener.bind(f"/proc/self/fd/{here}/e-socket")
        finally:
            os.close(here)
    (new / ("f" * (names.LONGEST + 1))).touch()
    (new / ("g" + "é" * 120)).touch()
    return sorted(os.listdir(new))


def work(store: FileStore, last: str) -> list[str]:
    """The loop of a worker in the manual, until it has handled ``last``."""
    stop, handled = threading.Event(), []
    for path in store.watch(stop=stop, requeue=60):
        claim = store.claim(path)
        if claim is None:
            continue
        with claim, claim.open() as file:
            handled.append(file.read())
        if claim.name == last:
            stop.set()
    return handled


def test_a_worker_handles_the_rest_now_and_after_a_restart(
    store: FileStore, caplog: pytest.LogCaptureFixture
) -> None:
    spoiled = spoil(Path(store.path, "new"))
    put(store, "0-good", "z-good")
    assert work(store, "z-good") == ["0-good", "z-good"]
    put(store, "again")
    assert work(FileStore(store.path), "again") == ["again"]
    found = inside(store, "aside")
    assert sorted(map(names.published_name, found)) == sorted(
        os.fsdecode(os.fsencode(name)[: names.LONGEST]) for name in spoiled
    )
    assert {name for name in inside(store, "cur") if not names.claimant_of_lease(name)} == set()
    assert inside(store, "new") == []
    assert caplog.text.count("set aside") == len(spoiled)
    assert "it is a FIFO, not a regular file" in caplog.text
    assert "File name too long" in caplog.text


def test_claims_of_any_file_leave_the_bad_ones_out(store: FileStore) -> None:
    spoil(Path(store.path, "new"))
    put(store, "good")
    found = []
    while (claim := store.claim()) is not None:
        with claim:
            found.append(claim.name)
    assert found == ["good"]
    assert inside(store, "new") == []


def test_a_file_that_may_not_be_read_is_set_aside(
    store: FileStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The tests may run as root, who may read everything."""
    put(store, "secret")
    real = os.open

    def refuse(path: str, *rest: int) -> int:
        if "secret" in path:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return real(path, *rest)

    monkeypatch.setattr(aside.os, "open", refuse)
    assert store.claim("secret") is None
    assert len(inside(store, "aside")) == 1
    assert "can't be read: Permission denied" in caplog.text


def test_a_fault_of_the_disk_sets_nothing_aside(
    store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, "fine")
    real = os.open

    def fail(path: str, *rest: int) -> int:
        if "fine" in path:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), path)
        return real(path, *rest)

    monkeypatch.setattr(aside.os, "open", fail)
    with pytest.raises(OSError, match="Too many open files"):
        store.claim("fine")
    monkeypatch.undo()
    claim = store.claim("fine")
    assert claim


def test_what_can_not_be_moved_is_reported_once_and_skipped(
    store: FileStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Another account's directory, in a ``new`` with the sticky bit."""
    (Path(store.path) / "new/theirs").mkdir()
    put(store, "z-good")
    real = os.rename

    def refuse(source: str, target: str) -> None:
        if "theirs" in source:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), source)
        real(source, target)

    monkeypatch.setattr(os, "rename", refuse)
    assert work(store, "z-good") == ["z-good"]
    for _ in range(3):
        assert store.claim() is None
        assert store.claim("theirs") is None
    assert caplog.text.count("can't be set aside") == 1
    assert inside(store, "new") == ["theirs"]


def test_where_nothing_can_be_set_aside_it_goes_back_and_is_skipped(
    store: FileStore, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    monkeypatch.setattr(os, "mkdir", refuse)
    (Path(store.path) / "new/link").symlink_to("/etc/passwd")
    put(store, "z-good")
    assert work(store, "z-good") == ["z-good"]
    assert store.claim() is None
    assert inside(store, "new") == ["link"]
    assert caplog.text.count("can't be set aside") == 1


def test_the_author_of_a_worker_can_set_aside_what_he_can_not_handle(
    store: FileStore, caplog: pytest.LogCaptureFixture
) -> None:
    put(store, "a")
    with store.claim("a") as claim:  # type: ignore[union-attr]
        claim.set_aside("it is no JSON")
    assert [names.published_name(name) for name in inside(store, "aside")] == ["a"]
    assert "it is no JSON" in caplog.text
    with pytest.raises(ClaimLost):
        claim.set_aside("again")


@pytest.mark.parametrize("name", ["x" * (names.LONGEST + 1), "é" * (names.LONGEST // 2 + 1)])
def test_a_name_that_can_not_be_claimed_is_not_published(store: FileStore, name: str) -> None:
    with pytest.raises(OSError, match="too long"), store.publish(name):
        pytest.fail("this must not be reached")
    assert inside(store, "new") == inside(store, "tmp") == []
    with store.publish(name[:100]):
        pass


def in_a_fork(call: Callable[[], object]) -> str:
    """What ``call`` raises in a child that goes on after it, as ``os.fork()`` does."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            said = "nothing"
            try:
                call()
            except BaseException as error:  # noqa: BLE001 - the test reads it
                said = type(error).__name__
            os.write(write, said.encode())
        finally:
            os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    try:
        return os.read(read, 100).decode()
    finally:
        os.close(read)


def test_a_forked_child_does_not_end_the_claims_of_its_parent(store: FileStore) -> None:
    put(store, "a")
    claim = store.claim("a")
    assert claim
    with claim.open() as file:
        assert file.read() == "a"

    def leave() -> None:
        with claim:
            pass

    def leave_in_anger() -> None:
        with claim:
            raise SystemExit

    assert in_a_fork(leave) == "nothing"
    assert in_a_fork(leave_in_anger) == "SystemExit"
    assert in_a_fork(claim.done) == "ClaimLost"
    assert in_a_fork(claim.release) == "ClaimLost"
    assert in_a_fork(lambda: claim.set_aside("mine")) == "ClaimLost"
    assert in_a_fork(lambda: pytest.fail("it is held") if claim.is_held() else None) == "nothing"
    assert claim.is_held()
    claim.done()


def test_what_is_no_lease_does_not_end_a_requeue(
    store: FileStore, caplog: pytest.LogCaptureFixture
) -> None:
    cur = Path(store.path, "cur")
    (cur / "..claimant-000000000001").mkdir()
    (cur / "..claimant-000000000002").symlink_to("/etc/passwd")
    dead = "0123456789ab"
    (cur / names.lease_name(dead)).touch()
    (cur / names.claimed_name("a", dead, 1)).touch()
    assert store.requeue() == ["a"]
    assert "..claimant-000000000001" in caplog.text


def test_the_time_of_a_requeue_follows_the_number_of_files(
    store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    cur = Path(store.path, "cur")
    for number in range(600):
        claimant = f"{number:012x}"
        (cur / names.lease_name(claimant)).touch()
        (cur / names.claimed_name(f"f{number}", claimant, 1)).touch()
    listed: list[object] = []
    real = os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: (listed.append(path), real(path))[1])
    assert len(store.requeue()) == 600
    assert len(listed) < 10
    assert len(real(cur)) == 1, "only our own lease is left"


def test_a_watching_worker_requeues_now_and_then(
    store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[float] = []
    monkeypatch.setattr(FileStore, "requeue", lambda self: calls.append(1))
    stop = threading.Event()
    put(store, "a")
    for _ in store.watch(stop=stop, requeue=0.0, poll=0.01):
        if len(calls) >= 3:
            stop.set()
        put(store, f"more-{len(calls)}")
    assert len(calls) >= 3
    calls.clear()
    for _ in store.watch(stop=(stop := threading.Event())):
        stop.set()
    assert calls == []


@pytest.mark.parametrize("planted", ["file", "FIFO", "link"])
def test_what_others_put_at_aside_stops_nobody(store: FileStore, planted: str) -> None:
    elsewhere = Path(store.path).parent / "elsewhere"
    elsewhere.mkdir()
    at = Path(store.path) / "aside"
    {
        "file": at.touch,
        "FIFO": lambda: os.mkfifo(at),
        "link": lambda: at.symlink_to(elsewhere),
    }[planted]()
    for _ in range(2):
        put(store, "bad")
        claim = FileStore(store.path).claim("bad")
        assert claim is not None
        claim.set_aside("it is not valid")
    assert not list(elsewhere.iterdir())
    made = [path for path in Path(store.path).iterdir() if path.name.startswith("aside-")]
    assert len(made) == 1
    assert len(list(made[0].iterdir())) == 2
