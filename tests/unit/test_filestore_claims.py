"""Claims of a FileStore: what one gives, also where hostile users put files."""

from __future__ import annotations

import fcntl
import gc
import os
import stat
from pathlib import Path

import pytest

from gobbler.filestore import ClaimLost, FileStore, names

from .claiming import in_a_child, inside, put, store

__all__ = ["store"]


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
    ingested = [claim.name for claim in iter(store.claim, None)]
    assert ingested == ["a", "b", "c"]
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


def test_hidden_files_do_not_keep_others_from_being_claimed(store: FileStore) -> None:
    longest = "y" * names.LONGEST
    put(store, ".nfs0001", longest)
    claim = store.claim()
    assert claim
    assert claim.name == longest
    assert store.claim() is None
    hidden = store.claim(".nfs0001")
    assert hidden
    hidden.done()


@pytest.mark.parametrize("number", [1, 0xFFF, 0xFFFFFFFFFFFF])
def test_the_longest_name_can_be_claimed_any_number_of_times(number: int) -> None:
    name = names.claimed_name("x" * names.LONGEST, names.new_claimant_id(), number)
    assert len(name) <= 255
    assert names.published_name(name) == "x" * names.LONGEST


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


def test_what_becomes_no_regular_file_is_not_opened(store: FileStore) -> None:
    """Another account that may write in ``cur`` exchanges what was claimed."""
    for kind, make in (
        ("symbolic link", lambda path: os.symlink("/etc/passwd", path)),
        ("directory", os.mkdir),
        ("FIFO", os.mkfifo),
    ):
        put(store, "a")
        claim = store.claim("a")
        assert claim
        os.unlink(claim.path)
        make(claim.path)
        with pytest.raises(ValueError, match=kind):
            claim.descriptor  # noqa: B018
        with pytest.raises(ValueError, match=kind):
            claim.open()
        claim.set_aside("it was exchanged")
    assert len(inside(store, "aside")) == 3
    assert inside(store, "cur") == inside(store, "new") == []


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


def test_the_lease_is_readable_for_accounts_that_may_take_files_out_of_cur(
    store: FileStore,
) -> None:
    cur = Path(store.path, "cur")
    for mode, expected in ((0o700, 0o600), (0o775, 0o660), (0o755, 0o600), (0o777, 0o666)):
        cur.chmod(mode)
        other = FileStore(store.path)
        other.requeue()
        (record,) = cur.iterdir()
        assert stat.S_IMODE(record.stat().st_mode) == expected
        del other
        gc.collect()
