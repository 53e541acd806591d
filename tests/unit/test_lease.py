"""Leases: acquire, renew, expire, take over; see also the tests of workspaces and of claims."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from gobbler.fs import lease
from gobbler.fs.lease import (
    EXPIRY_SECONDS,
    acquire,
    encode_holder,
    has_ended,
    is_expired,
    this_process,
)
from gobbler.fs.lock import try_lock
from gobbler.registry import workspace
from gobbler.registry.workspace import abandoned_workspaces, new_workspace


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "held")


def expired(path: str, **changed: object) -> bool:
    """Whether the lease of a process like this one, with something ``changed``, has expired."""
    Path(path).write_bytes(encode_holder(msgspec.structs.replace(this_process(), **changed)))
    descriptor = os.open(path, os.O_RDWR)
    try:
        assert try_lock(descriptor, fcntl.LOCK_EX)
        return is_expired(descriptor, time.time)
    finally:
        os.close(descriptor)


def ended(path: str, **changed: object) -> bool:
    """Whether a process like this one, with something ``changed``, is known to have ended."""
    Path(path).touch()
    descriptor = os.open(path, os.O_RDWR)
    try:
        return has_ended(descriptor, msgspec.structs.replace(this_process(), **changed))
    finally:
        os.close(descriptor)


def test_who_is_known_to_have_ended(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gobbler.fs.mounts.reports_all_changes", lambda _: True)
    assert not ended(path)
    assert ended(path, pid=2**22 + 1)
    assert ended(path, started="1")
    assert ended(path, namespace="pid:[1]")
    assert ended(path, boot="an earlier one")
    assert not ended(path, boot="")
    assert not ended(path, boot="an earlier one", host="another")


def test_a_held_lock_shows_that_a_process_of_another_namespace_lives(path: str) -> None:
    with open(path, "w") as held:
        assert try_lock(held.fileno(), fcntl.LOCK_EX)
        assert not ended(path, namespace="pid:[1]")
        assert not ended(path, pid=2**22 + 1)


def test_without_locks_only_the_kernel_says_who_has_ended(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> bool:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lease, "try_lock", fail)
    assert not ended(path)
    assert ended(path, pid=2**22 + 1)
    assert not ended(path, namespace="pid:[1]")


def test_silence_and_free_locks_that_exclude_nobody_do_not_show_an_end(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "try_lock", lambda *_: True)
    assert not ended(path, namespace="pid:[1]")
    assert ended(path, pid=2**22 + 1)


def test_on_a_network_filesystem_a_host_of_the_same_name_may_be_another(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gobbler.fs.mounts.reports_all_changes", lambda _: False)
    assert not ended(path, boot="an earlier one")


def test_a_lease_is_held_by_the_process_that_acquired_it(path: str) -> None:
    ours = acquire(path)
    assert ours is not None
    with open(path) as other:
        assert not try_lock(other.fileno(), fcntl.LOCK_EX)
        assert msgspec.json.decode(other.read()) == msgspec.to_builtins(this_process())
    with pytest.raises(FileExistsError):
        acquire(path)
    assert not ours.is_lost()
    os.unlink(path)
    assert ours.is_lost()
    ours.close()


def test_who_is_superseded_leaves_the_lease_to_its_successor(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    former = acquire(path)
    assert former is not None
    assert not former.is_taken_over()
    monkeypatch.setattr(lease, "try_lock", lambda *_: True)
    monkeypatch.setattr(lease, "is_expired", lambda *_, **__: True)
    other = msgspec.structs.replace(this_process(), namespace="pid:[1]")
    monkeypatch.setattr(lease, "this_process", lambda: other)
    successor = lease.take_over(path)
    assert successor is not None
    assert not successor.is_taken_over()
    successor.write_holder()
    assert former.is_taken_over()
    former.release()
    assert os.path.exists(path)
    assert not successor.is_taken_over()
    assert not successor.is_lost()
    successor.release()
    assert not os.path.exists(path)


@pytest.fixture(params=["holds it", "removed it"])
def rival(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Another party locks a file between its creation and our lock; which files it had."""
    had: list[str] = []
    opened: list[int] = []
    real = lease.try_lock

    def late(descriptor: int, operation: int) -> bool:
        if not had:
            had.append(os.readlink(f"/proc/self/fd/{descriptor}"))
            opened.append(os.open(had[0], os.O_RDWR))
            assert real(opened[0], fcntl.LOCK_EX)
            if request.param == "removed it":
                os.unlink(had[0])
                os.close(opened.pop())
        return real(descriptor, operation)

    monkeypatch.setattr(lease, "try_lock", late)
    yield had
    for descriptor in opened:
        os.close(descriptor)


@pytest.mark.usefixtures("rival")
def test_it_is_not_ours_if_another_party_was_faster(path: str) -> None:
    assert acquire(path) is None


def test_a_workspace_whose_lease_was_taken_at_its_start_gets_another(
    tmp_path: Path, rival: list[str]
) -> None:
    (tmp_path / "..incoming").mkdir()
    with new_workspace(str(tmp_path)) as made:
        assert made.lease.path not in rival
        assert os.path.exists(made.lease.path)
        assert [found.path for found in abandoned_workspaces(str(tmp_path))] == []


def test_a_living_process_of_this_namespace(path: str) -> None:
    assert not expired(path)
    assert not expired(path, host="a container's name for this host")
    assert expired(path, pid=2**22 + 1)
    assert expired(path, started="1")


def test_another_namespace_is_believed_by_its_lock_only_where_locks_exclude(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert expired(path, namespace="pid:[1]")
    monkeypatch.setattr(lease, "try_lock", lambda *_: True)
    assert not expired(path, namespace="pid:[1]")


def test_without_proc_the_lock_decides(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = msgspec.structs.replace(this_process(), namespace="")
    monkeypatch.setattr(lease, "this_process", lambda: nowhere)
    assert expired(path)


def test_a_process_that_was_forked_is_another_one() -> None:
    ours = this_process()
    readable, writable = os.pipe()
    if (child := os.fork()) == 0:
        os.write(writable, encode_holder(this_process()))
        os._exit(0)
    os.waitpid(child, 0)
    theirs = msgspec.json.decode(os.read(readable, 4096))
    os.close(readable)
    os.close(writable)
    assert (theirs["pid"], theirs["boot"]) == (child, ours.boot)


def test_this_host_after_a_boot_and_another_host(path: str) -> None:
    assert expired(path, boot="an earlier one")
    assert not expired(path, boot="an earlier one", host="another")


@pytest.mark.parametrize("ahead", [-3600.0, 3600.0])
def test_leases_of_other_hosts_expire_by_the_clock_of_the_filesystem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ahead: float
) -> None:
    (tmp_path / "..incoming").mkdir()
    lock = tmp_path / "..incoming" / "job.lock"
    there = msgspec.structs.replace(this_process(), host="another", boot="another")
    lock.write_bytes(encode_holder(there))
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + ahead)
    assert list(abandoned_workspaces(str(tmp_path))) == []
    os.utime(lock, (real() - EXPIRY_SECONDS - 60,) * 2)
    assert len(list(abandoned_workspaces(str(tmp_path)))) == 1
    assert os.listdir(tmp_path / "..incoming") == []
    assert lock.suffix == workspace.LEASE_SUFFIX
