"""Claims of a FileStore: who holds what, whoever is slow, stopped or killed."""

from __future__ import annotations

import fcntl
import gc
import itertools
import os
import pickle
import signal
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gobbler.disk import presence, renaming
from gobbler.disk.liveness import SILENCE, describe, this_process
from gobbler.spool import ClaimLost, FileStore, claimants, claims, naming
from gobbler.spool.claimants import Claimant


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    made = FileStore(tmp_path / "store")
    made.prepare()
    return made


def put(store: FileStore, *names: str) -> None:
    for name in names:
        with store.publish(name) as file:
            file.write(name)


def inside(store: FileStore, space: str) -> list[str]:
    return [os.path.basename(path) for path in store.list(space)]


def everything(store: FileStore) -> list[str]:
    return [name for space in store.sub_dirs for name in os.listdir(Path(store.path, space))]


def in_a_child(work: Callable[[], object]) -> int:
    """Do ``work`` in a process of its own, which ends as if it were killed; its exit code."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:  # noqa: BLE001 - a child must not go on as its parent
            os._exit(1)
        os.kill(os.getpid(), signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


# What a claim gives


def test_a_claim_is_done_at_the_end_of_its_block(store: FileStore) -> None:
    put(store, "a")
    with store.claim() as claim:
        assert claim is not None
        assert claim.name == "a"
        assert store.list("cur") == [claim.path]
        assert os.read(claim.descriptor, 10) == b"a"
        with claim.open() as file:
            assert file.read() == "a"
        assert claim.is_held()
        descriptor = claim.descriptor
    assert not claim.is_held()
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(descriptor)
    assert store.list("new") == store.list("cur") == []


def test_an_error_puts_the_file_back(store: FileStore) -> None:
    put(store, "a")
    with pytest.raises(KeyError), store.claim() as claim:
        raise KeyError
    assert claim is not None
    assert not claim.is_held()
    assert inside(store, "new") == ["a"]
    assert store.list("cur") == []


def test_done_with_may_mean_elsewhere(store: FileStore, tmp_path: Path) -> None:
    put(store, "a", "b")
    with store.claim() as claim:
        assert claim
        claim.done(tmp_path / "kept")
    assert (tmp_path / "kept").read_text() == "a"
    with store.claim() as claim:
        assert claim
        with pytest.raises(FileNotFoundError) as caught:
            claim.done(tmp_path / "missing" / "kept")
        assert not isinstance(caught.value, ClaimLost)
        assert claim.is_held(), "only the target was wrong"


def test_files_come_in_order_of_name(store: FileStore) -> None:
    put(store, "c", "a", "b")
    taken = [claim.name for claim in iter(store.claim, None)]
    assert taken == ["a", "b", "c"]
    assert store.claim() is None


def test_none_means_that_nothing_waits_even_after_others_emptied_what_was_seen(
    store: FileStore,
) -> None:
    put(store, "a", "b")
    other = FileStore(store.path)
    assert store.claim("a")
    assert store.claim()
    put(store, "c", "d")
    assert store.claim()  # has now seen both
    assert other.claim()
    put(store, "e")
    found = store.claim()
    assert found
    assert found.name == "e"


def test_a_named_file_is_claimed_once(store: FileStore, tmp_path: Path) -> None:
    put(store, "a")
    other = FileStore(store.path)
    (path,) = store.list("new")
    claim = store.claim(path)
    assert claim
    assert other.claim(path) is None
    assert other.claim("a") is None
    assert other.claim(Path(path)) is None
    for name in ("..", "a/..", "", "..claimant-0123456789ab"):
        with pytest.raises(ValueError, match="name"):
            other.claim(name)


def test_the_same_name_may_be_claimed_while_an_earlier_one_is(store: FileStore) -> None:
    put(store, "a")
    first = store.claim()
    put(store, "a")
    second = store.claim()
    assert first
    assert second
    assert first.name == second.name == "a"
    assert len(store.list("cur")) == 2
    first.done()
    assert second.is_held()


def test_hidden_files_and_long_names_do_not_keep_others_from_being_claimed(
    store: FileStore,
) -> None:
    longest = "y" * naming.LONGEST
    put(store, ".nfs0001", "x" * (naming.LONGEST + 1), longest)
    claim = store.claim()
    assert claim
    assert claim.name == longest
    assert store.claim() is None
    with pytest.raises(OSError, match="too long"):
        store.claim("x" * (naming.LONGEST + 1))
    hidden = store.claim(".nfs0001")
    assert hidden
    hidden.done()


@pytest.mark.parametrize("number", [1, 0xFFF, 0xFFFFFFFFFFFF])
def test_the_longest_name_can_be_claimed_any_number_of_times(number: int) -> None:
    name = naming.claimed("x" * naming.LONGEST, naming.new_claimant(), number)
    assert len(name) <= 255
    assert naming.original(name) == "x" * naming.LONGEST


def test_a_fault_of_the_store_is_not_passed_over(store: FileStore) -> None:
    put(store, "a")
    cur = Path(store.path, "cur")
    assert store.requeue() == []
    cur.rename(cur.parent / "away")
    cur.symlink_to("/dev/full")
    with pytest.raises(NotADirectoryError):
        store.claim()


def test_a_claim_that_is_forgotten_closes_its_file(store: FileStore) -> None:
    put(store, "a")
    claim = store.claim()
    assert claim
    descriptor = claim.descriptor
    with pytest.warns(ResourceWarning, match="unclosed"):
        del claim
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(descriptor)


# What hostile users put there


def test_what_is_no_regular_file_is_claimed_but_not_opened(store: FileStore) -> None:
    new = Path(store.path, "new")
    (new.parent / "secret").write_text("secret")
    (new / "link").symlink_to(new.parent / "secret")
    (new / "directory").mkdir()
    os.mkfifo(new / "fifo")
    for name, kind in (("link", "symbolic link"), ("directory", "directory"), ("fifo", "FIFO")):
        claim = store.claim(name)
        assert claim
        with pytest.raises(ValueError, match=kind):
            claim.descriptor  # noqa: B018
        with pytest.raises(ValueError, match=kind):
            claim.open()
        claim.done(new.parent / f"aside-{name}")
    assert sorted(path.name for path in new.parent.glob("aside-*")) == [
        "aside-directory",
        "aside-fifo",
        "aside-link",
    ]


def test_a_lock_on_the_file_by_its_owner_delays_nothing(store: FileStore) -> None:
    put(store, "a")
    with open(store.list("new")[0]) as owned:
        fcntl.flock(owned, fcntl.LOCK_EX)
        in_a_child(lambda: FileStore(store.path).claim("a"))
        assert store.requeue() == ["a"]
        assert store.claim("a")


def test_a_name_that_looks_claimed_is_not_held_for_a_claim_of_ours(store: FileStore) -> None:
    forged = "a~0123456789ab-1"
    put(store, forged)
    claim = store.claim()
    assert claim
    assert claim.name == "a"
    claim.release()
    assert inside(store, "new") == ["a"]


def test_the_record_is_for_those_who_may_take_files_out_of_cur(store: FileStore) -> None:
    cur = Path(store.path, "cur")
    for mode, expected in ((0o700, 0o600), (0o775, 0o660), (0o755, 0o600), (0o777, 0o666)):
        cur.chmod(mode)
        other = FileStore(store.path)
        other.requeue()
        (record,) = cur.iterdir()
        assert stat.S_IMODE(record.stat().st_mode) == expected
        del other
        gc.collect()


# Who lives, and who is dead


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


def test_an_ordinary_end_leaves_no_record(store: FileStore) -> None:
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


def test_records_of_the_dead_are_removed(store: FileStore) -> None:
    in_a_child(store.requeue)
    assert len(os.listdir(Path(store.path, "cur"))) == 1
    store.requeue()
    (record,) = os.listdir(Path(store.path, "cur"))
    assert naming.recorded(record) == store._our_claims().claimant.id


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


class Elsewhere:
    """A claim by a process of another host, whose locks don't reach here."""

    def __init__(self, store: FileStore, name: str) -> None:
        self.store = FileStore(store.path)
        claim = self.store.claim(name)
        assert claim
        self.claim = claim
        self.claimant: Claimant = self.store._our_claims().claimant
        there = msgspec.structs.replace(this_process(), host="another", boot="another")
        Path(self.claimant.path).write_bytes(describe(there))

    def signed(self, ago: float) -> None:
        os.utime(self.claimant.path, (time.time() - ago,) * 2)


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "try_lock", lambda *_: True)


@pytest.mark.usefixtures("no_locks")
def test_who_is_silent_for_long_on_another_host_loses_the_claim(store: FileStore) -> None:
    put(store, "a")
    slow = Elsewhere(store, "a")
    slow.signed(SILENCE - 60)
    assert store.requeue() == []
    slow.signed(SILENCE + 60)
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
    slow = Elsewhere(store, "a")
    slow.signed(SILENCE + 60)
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
def test_who_was_given_up_without_a_claim_gets_known_again(store: FileStore) -> None:
    put(store, "a", "b")
    slow = Elsewhere(store, "a")
    slow.claim.done()
    slow.signed(SILENCE + 60)
    store.requeue()
    assert not slow.claimant.is_known()
    claim = slow.store.claim()
    assert claim
    assert claim.name == "b"
    assert slow.store._our_claims().claimant.is_known()
    assert naming.claimant_of(claim.path) == slow.store._our_claims().claimant.id


@pytest.mark.usefixtures("no_locks")
def test_a_process_of_this_host_lives_even_where_locks_do_nothing(store: FileStore) -> None:
    put(store, "a")
    claim = FileStore(store.path).claim()
    assert claim
    assert store.requeue(silence=-1) == []


def test_signs_of_life_are_given_by_themselves(
    store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claimants, "SIGN_EVERY", 0.01)
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
        return [each for each in threading.enumerate() if each.name.startswith("signs of")]

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
    monkeypatch.setattr(presence, "try_lock", lambda *_: True)
    elsewhere = Elsewhere(store, "a")
    elsewhere.signed(0)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 10 * SILENCE)
    assert store.requeue() == []


def test_without_its_record_a_claim_is_given_up_after_the_silence(store: FileStore) -> None:
    put(store, "a")
    other = FileStore(store.path)
    claim = other.claim()
    assert claim
    os.unlink(other._our_claims().claimant.path)
    assert store.requeue() == []
    assert store.requeue(silence=-1) == ["a"]


# Interleavings


def test_a_late_requeuer_does_not_take_what_was_claimed_anew(
    store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, "a")
    in_a_child(store.claim)
    real = claims.rename_new
    taken: list[Any] = []

    def late(source: str, target: str) -> None:
        monkeypatch.setattr(claims, "rename_new", real)
        os.rename(source, target)  # meanwhile another one puts it back,
        taken.append(FileStore(store.path).claim())  # and a third claims it
        real(source, target)

    monkeypatch.setattr(claims, "rename_new", late)
    assert store.requeue() == []
    assert taken[0].is_held()


def test_a_name_that_is_published_anew_is_not_replaced_by_what_comes_back(
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
    monkeypatch.setattr(renaming, "_renameat2", None)
    put(store, "a")
    claim = store.claim()
    assert claim
    claim.release()
    (name,) = inside(store, "new")
    assert naming.original(name) == "a"
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
