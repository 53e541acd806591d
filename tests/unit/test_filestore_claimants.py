"""Claimants of a FileStore: living and dead ones, here, on other hosts, and without locks."""

from __future__ import annotations

import gc
import os
import pickle
import signal
import threading
import time
from pathlib import Path

import msgspec
import pytest

from gobbler.filestore import ClaimLost, FileStore, claimant, names
from gobbler.filestore.claimant import Claimant
from gobbler.fs import lease
from gobbler.fs.lease import EXPIRY_SECONDS, encode_holder, this_process

from .claiming import everything, in_a_child, inside, put, store

__all__ = ["store"]


def test_what_a_killed_process_claimed_is_put_back(store: FileStore) -> None:
    put(store, "a", "b")
    assert in_a_child(lambda: (store.claim(), store.claim())) == -signal.SIGKILL
    assert len(store.list("cur")) == 2
    assert store.requeue() == ["a", "b"]
    assert inside(store, "new") == ["a", "b"]
    assert store.requeue() == []


def test_what_living_processes_claim_stays(store: FileStore) -> None:
    put(store, "a", "b")
    mine = store.claim()
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        claim = store.claim()
        os.write(write, b"x")
        signal.pause()
        os._exit(claim is None)
    try:
        os.read(read, 1)
        assert store.requeue(silence=0) == FileStore(store.path).requeue(silence=0) == []
        assert len(store.list("cur")) == 2
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(read)
        os.close(write)
    assert store.requeue() == ["b"]
    assert mine
    assert mine.is_held()


def test_a_child_of_the_claimant_does_not_keep_its_claims_alive(store: FileStore) -> None:
    put(store, "a")
    ready, ready_write = os.pipe()
    wait, wait_write = os.pipe()

    def claim_and_fork() -> None:
        claim = store.claim()
        assert claim
        if os.fork() == 0:
            os.close(wait_write)
            os.write(ready_write, b"x")
            os.read(wait, 1)
            os._exit(0)
        os.read(ready, 1)

    in_a_child(claim_and_fork)
    assert store.requeue() == ["a"]
    os.close(wait_write)
    for descriptor in (ready, ready_write, wait):
        os.close(descriptor)


def test_a_forked_child_claims_for_itself(store: FileStore) -> None:
    put(store, "a", "b")
    mine = store.claim()
    in_a_child(store.claim)
    assert store.requeue() == ["b"]
    assert mine
    assert mine.is_held()


def test_an_ordinary_end_leaves_no_lease(store: FileStore) -> None:
    put(store, "a", "b")
    other = FileStore(store.path)
    with other.claim() as claim:
        assert claim
    dropped = other.claim()
    assert dropped
    del other, claim
    gc.collect()
    assert dropped.is_held(), "a claim lives as long as it is referred to"
    assert store.requeue() == []
    del dropped
    gc.collect()
    assert store.requeue() == ["b"], "nobody's, though its process lives"
    del store.__dict__["_claims"]
    gc.collect()
    assert everything(store) == ["b"]


def test_leases_of_dead_claimants_are_removed(store: FileStore) -> None:
    in_a_child(store.requeue)
    assert len(os.listdir(Path(store.path, "cur"))) == 1
    store.requeue()
    (record,) = os.listdir(Path(store.path, "cur"))
    assert names.claimant_of_lease(record) == store._our_claims().claimant.id


def test_a_pickle_takes_no_claims_along(store: FileStore) -> None:
    put(store, "a")
    claim = store.claim()
    again = pickle.loads(pickle.dumps(store))
    assert "_claims" not in vars(again)
    assert again.claim() is None
    assert claim


def test_files_taken_by_others_means_stay(store: FileStore) -> None:
    put(store, "a", "b")
    store.move("a", "new", "cur")
    os.rename(store.list("new")[0], Path(store.path, "cur", "b"))
    assert store.requeue(silence=0) == []
    assert inside(store, "cur") == ["a", "b"]


# On other hosts, and where locks can't be trusted


class OtherHost:
    """A claim by a process of another host, whose locks don't reach here."""

    def __init__(self, store: FileStore, name: str) -> None:
        self.store = FileStore(store.path)
        claim = self.store.claim(name)
        assert claim
        self.claim = claim
        self.claimant: Claimant = self.store._our_claims().claimant
        there = msgspec.structs.replace(this_process(), host="another", boot="another")
        Path(self.claimant.path).write_bytes(encode_holder(there))

    def signed(self, ago: float) -> None:
        os.utime(self.claimant.path, (time.time() - ago,) * 2)


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "try_lock", lambda *_: True)


@pytest.mark.usefixtures("no_locks")
def test_a_claimant_on_another_host_that_is_silent_for_long_loses_the_claim(
    store: FileStore,
) -> None:
    put(store, "a")
    slow = OtherHost(store, "a")
    slow.signed(EXPIRY_SECONDS - 60)
    assert store.requeue() == []
    slow.signed(EXPIRY_SECONDS + 60)
    assert store.requeue() == ["a"]
    next_one = store.claim()
    assert next_one
    # Now the slow one goes on.
    assert not slow.claim.is_held()
    with pytest.raises(ClaimLost):
        slow.claim.done()
    assert next_one.is_held(), "it took nothing away from whoever has the file now"


@pytest.mark.usefixtures("no_locks")
@pytest.mark.parametrize("end", ["done", "release", "block", "error"])
def test_each_way_to_end_a_lost_claim_leaves_the_next_one_alone(store: FileStore, end: str) -> None:
    put(store, "a")
    slow = OtherHost(store, "a")
    slow.signed(EXPIRY_SECONDS + 60)
    assert store.requeue() == ["a"]
    next_one = store.claim()
    expected = KeyError if end == "error" else ClaimLost

    def go_on() -> None:
        if end in ("done", "release"):
            getattr(slow.claim, end)()
        else:
            with slow.claim:
                if end == "error":
                    raise KeyError

    with pytest.raises(expected):
        go_on()
    assert next_one
    assert next_one.is_held()
    assert store.list("new") == []


@pytest.mark.usefixtures("no_locks")
def test_a_claimant_without_a_lease_gets_another(store: FileStore) -> None:
    put(store, "a", "b")
    slow = OtherHost(store, "a")
    slow.claim.done()
    slow.signed(EXPIRY_SECONDS + 60)
    store.requeue()
    assert slow.claimant.is_lost()
    claim = slow.store.claim()
    assert claim
    assert claim.name == "b"
    assert not slow.store._our_claims().claimant.is_lost()
    assert names.claimant_of(claim.path) == slow.store._our_claims().claimant.id


@pytest.mark.usefixtures("no_locks")
def test_a_process_of_this_host_lives_even_where_locks_do_nothing(store: FileStore) -> None:
    put(store, "a")
    claim = FileStore(store.path).claim()
    assert claim
    assert store.requeue(silence=-1) == []


def test_a_thread_renews_the_lease(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claimant, "RENEW_SECONDS", 0.01)
    put(store, "a")
    claim = store.claim()
    assert claim
    path = store._our_claims().claimant.path
    os.utime(path, (0, 0))
    deadline = time.monotonic() + 60
    while os.stat(path).st_mtime == 0:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_no_thread_outlives_its_store(store: FileStore) -> None:
    def signing() -> list[threading.Thread]:
        return [each for each in threading.enumerate() if each.name.startswith("lease of")]

    gc.collect()
    before = len(signing())
    store.requeue()
    assert len(signing()) == before + 1
    del store.__dict__["_claims"]
    gc.collect()
    deadline = time.monotonic() + 60
    while len(signing()) > before:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_silence_is_measured_by_the_clock_of_the_filesystem(
    store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, "a")
    monkeypatch.setattr(lease, "try_lock", lambda *_: True)
    elsewhere = OtherHost(store, "a")
    elsewhere.signed(0)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 10 * EXPIRY_SECONDS)
    assert store.requeue() == []


def test_a_claim_without_a_lease_ends_after_the_silence(store: FileStore) -> None:
    put(store, "a")
    other = FileStore(store.path)
    claim = other.claim()
    assert claim
    os.unlink(other._our_claims().claimant.path)
    assert store.requeue() == []
    assert store.requeue(silence=-1) == ["a"]
