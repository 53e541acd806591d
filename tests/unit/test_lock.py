"""Locks of the registry, fought for by threads and processes (protocol, section 7)."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gobbler.errors import Code, Fault
from gobbler.fs.lock import locked, try_lock

RACERS = 40
ROUNDS = 5


INCREMENT = """
import sys
from pathlib import Path
from gobbler.fs.lock import locked
counter = Path(sys.argv[2])
for _ in range(50):
    with locked(sys.argv[1], exclusive=True):
        counter.write_text(str(int(counter.read_text()) + 1))
"""


def increment(lock: str, counter: Path) -> None:
    """Add to the number in ``counter`` in the slowest possible way, so that races show."""
    for _ in range(ROUNDS):
        with locked(lock, exclusive=True):
            number = int(counter.read_text())
            time.sleep(0.0002)
            counter.write_text(str(number + 1))


@pytest.fixture
def counter(tmp_path: Path) -> Path:
    path = tmp_path / "counter"
    path.write_text("0")
    return path


@pytest.fixture
def lock(tmp_path: Path) -> str:
    return str(tmp_path / "..LOCK")


def test_forty_threads_take_turns(lock: str, counter: Path) -> None:
    with ThreadPoolExecutor(RACERS) as pool:
        list(pool.map(lambda _: increment(lock, counter), range(RACERS)))
    assert int(counter.read_text()) == RACERS * ROUNDS


def test_processes_take_turns(lock: str, counter: Path) -> None:
    command = [sys.executable, "-c", INCREMENT, lock, str(counter)]
    racers = [subprocess.Popen(command) for _ in range(4)]
    assert [racer.wait(60) for racer in racers] == [0] * 4
    assert int(counter.read_text()) == 200


def test_those_who_share_hold_it_together(lock: str) -> None:
    together = threading.Barrier(RACERS)

    def meet(_: int) -> None:
        with locked(lock, exclusive=False):
            together.wait(30)  # is broken unless all are here at a time

    with ThreadPoolExecutor(RACERS) as pool:
        list(pool.map(meet, range(RACERS)))


@pytest.mark.parametrize(("mine", "theirs"), [(True, False), (False, True), (True, True)])
def test_an_exclusive_lock_is_nobody_elses_in_the_same_thread_even(
    lock: str, mine: bool, theirs: bool
) -> None:
    with (
        locked(lock, exclusive=mine),
        pytest.raises(Fault, match="not free") as caught,
        locked(lock, exclusive=theirs, timeout=0.05),
    ):
        pytest.fail("both had it")
    assert lock in caught.value.reason
    assert caught.value.hint
    with locked(lock, exclusive=True, timeout=0):
        pass


def test_it_is_free_again_after_an_error(lock: str) -> None:
    with pytest.raises(KeyError), locked(lock, exclusive=True):
        raise KeyError
    with locked(lock, exclusive=True, timeout=0):
        pass


def test_waiting_goes_on_until_it_is_free(lock: str) -> None:
    begun = threading.Event()

    def hold() -> None:
        with locked(lock, exclusive=True):
            begun.set()
            time.sleep(0.2)

    holder = threading.Thread(target=hold)
    holder.start()
    begun.wait(30)
    with locked(lock, exclusive=True):
        pass
    holder.join()


def test_it_vanishes_with_its_holder(lock: str) -> None:
    child = os.fork()
    if child == 0:
        try:
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        finally:
            os.kill(os.getpid(), 9)
    os.waitpid(child, 0)
    with locked(lock, exclusive=True, timeout=0):
        pass


def test_a_holder_by_another_program_is_respected(lock: str) -> None:
    with open(lock, "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_SH)
        with locked(lock, exclusive=False, timeout=0):
            pass
        with (
            pytest.raises(Fault, match=r"0\.02 seconds") as caught,
            locked(lock, exclusive=True, timeout=0.02),
        ):
            pass
        assert caught.value.code is Code.LOCK_TIMEOUT


def test_a_lock_file_is_private_even_if_another_service_made_it_for_all(lock: str) -> None:
    with open(lock, "w"):
        os.chmod(lock, 0o644)
    with locked(lock, exclusive=False):
        assert os.stat(lock).st_mode & 0o777 == 0o600
    os.unlink(lock)
    with locked(lock, exclusive=False):
        assert os.stat(lock).st_mode & 0o777 == 0o600


def test_a_lock_file_stays_and_its_content_too(lock: str) -> None:
    with open(lock, "w") as handle:
        handle.write("of the other service")
    with locked(lock, exclusive=True):
        pass
    with open(lock) as handle:
        assert handle.read() == "of the other service"


def test_without_its_directory_there_is_no_lock(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), locked(str(tmp_path / "gone/..LOCK"), exclusive=True):
        pass


def test_a_link_in_its_place_is_not_followed(lock: str, tmp_path: Path) -> None:
    os.symlink(tmp_path / "elsewhere", lock)
    with pytest.raises(OSError, match="symbolic link"), locked(lock, exclusive=True):
        pass
    assert not (tmp_path / "elsewhere").exists()


def test_trying_reports_whether_it_was_free(lock: str) -> None:
    with open(lock, "w") as one, open(lock) as other:
        assert try_lock(one.fileno(), fcntl.LOCK_SH)
        assert try_lock(other.fileno(), fcntl.LOCK_SH)
        assert not try_lock(one.fileno(), fcntl.LOCK_EX)
        os.set_inheritable(one.fileno(), False)
    with pytest.raises(ValueError, match="closed"):
        try_lock(one.fileno(), fcntl.LOCK_EX)
