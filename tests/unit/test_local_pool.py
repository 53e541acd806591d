"""A pool of local processes: all results come once, whatever dies, and nothing stays behind."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from gobbler.errors import Cancelled, Code, Fault, Refused
from gobbler.model.progress import CancelFlag, NeverCancelled, NoProgress, Progress, ProgressCounter
from gobbler.transfer import local_pool, pool_mother, pool_process, pool_share
from gobbler.transfer.batch_run import run_all
from gobbler.transfer.executors import LocalExecutor, pool_of
from gobbler.transfer.local_pool import LocalPool
from gobbler.transfer.pool_share import PoolShare, ProcessDied
from gobbler.transfer.pooled_work import PooledWork

from . import pooled

PATIENCE = 30.0

TOP = Path(__file__).parents[1]


def wait_for(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.005)
    return found


def children(process: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{process}/task").iterdir():
        with suppress(OSError):
            found += [int(child) for child in (task / "children").read_text().split()]
    return found


def is_alive(process: int) -> bool:
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] not in "ZX"


def mother_of(pool: LocalPool) -> int:
    """The process ID of its mother."""
    assert pool.mother is not None
    return pool.mother


def opened(process: int) -> list[str]:
    found = []
    for path in Path(f"/proc/{process}/fd").iterdir():
        with suppress(OSError):
            found.append(os.readlink(path))
    return found


def sockets(process: int) -> int:
    return len([path for path in opened(process) if path.startswith("socket:")])


def has_started(pool: LocalPool) -> bool:
    return pool.mother is not None and len(children(pool.mother)) == pool.processes


@pytest.fixture
def executor(importable: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalExecutor]:
    monkeypatch.setattr(local_pool, "RETRY_SECONDS", 3600.0)
    with LocalExecutor(2, processes=2) as executor:
        yield executor


@pytest.fixture
def pool(executor: LocalExecutor) -> LocalPool:
    """A pool that runs."""
    return started(executor)


def started(executor: LocalExecutor) -> LocalPool:
    found = pool_of(executor)
    assert found is not None
    found.join()
    found.leave()
    wait_for(lambda: has_started(found))
    return found


@pytest.fixture(scope="module")
def _shared() -> Iterator[LocalExecutor]:
    with pytest.MonkeyPatch.context() as patch, LocalExecutor(2, processes=2) as executor:
        patch.syspath_prepend(str(TOP))
        patch.setattr(local_pool, "IDLE_SECONDS", 3600.0)
        yield executor


@pytest.fixture
def running(_shared: LocalExecutor) -> LocalExecutor:
    """One for all tests that do not harm its pool, which runs."""
    started(_shared)
    return _shared


def here(batch: Any, progress: Progress) -> int:
    """What a thread does instead."""
    return os.getpid()


def run(
    executor: Executor,
    function: Callable[[Any, Progress], Any],
    batches: Any,
    *,
    instead: Callable[[Any, Progress], Any] = here,
    is_small: Callable[[Any], bool] = bool,
    **more: Any,
) -> list[Any]:
    work = PooledWork(is_small, function, lambda result: result, instead)
    common = {"progress": NoProgress(), "cancel": NeverCancelled(), "give_up": lambda: None}
    return list(
        run_all(
            executor, 2, instead, batches, pooled=work, pool=pool_of(executor), **(common | more)
        )
    )


def test_small_batches_run_in_all_processes_and_others_here(running: LocalExecutor) -> None:
    found = run(running, pooled.who, [1] * 40 + [0] * 3)
    assert len(found) == 43
    assert found.count(os.getpid()) == 3
    others = set(found) - {os.getpid()}
    assert others == set(children(mother_of(started(running))))
    assert len(others) == 2


def test_nobody_waits_for_a_pool_that_starts(
    executor: LocalExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go = threading.Event(), threading.Event()
    mother = local_pool.Mother

    def slowly(processes: int) -> Any:
        begun.set()
        assert go.wait(PATIENCE)
        return mother(processes)

    monkeypatch.setattr(local_pool, "Mother", slowly)
    assert set(run(executor, pooled.who, [1] * 5)) == {os.getpid()}
    assert begun.is_set()
    go.set()


@pytest.mark.parametrize("size", [0, 3_000_000])
def test_batches_and_results_may_be_larger_than_a_socket_holds(
    running: LocalExecutor, size: int
) -> None:
    batches = [bytes([n]) + bytes(size) for n in range(8)]
    found = run(running, pooled.echo, batches, instead=lambda batch, _: batch)
    assert sorted(found) == batches


def test_an_error_of_a_process_is_raised_here(running: LocalExecutor) -> None:
    with pytest.raises(Refused, match="no, not that") as refused:
        run(running, pooled.refuse, [1])
    assert refused.value.hint == "try another one"
    with pytest.raises(Fault, match="Unreadable: oneother") as failed:
        run(running, pooled.fail, [1])
    assert failed.value.code == Code.EXECUTOR_FAILED
    assert run(running, pooled.who, [1]) != [os.getpid()], "and the process goes on"


def test_what_a_killed_process_had_is_done_again_in_a_thread(
    executor: LocalExecutor, pool: LocalPool, caplog: pytest.LogCaptureFixture
) -> None:
    mother = mother_of(pool)
    assert run(executor, pooled.die, [1] * 9) == [os.getpid()] * 9
    assert "a process of the local pool died" in caplog.text
    wait_for(lambda: not is_alive(mother))
    assert run(executor, pooled.who, [1]) == [os.getpid()], "no other pool is started at once"


def test_the_death_of_the_mother_ends_her_children(
    executor: LocalExecutor, pool: LocalPool, tmp_path: Path
) -> None:
    def kill(batch: Any, progress: Progress) -> int:
        if batch == 0:
            wait_for(lambda: len(list(tmp_path.iterdir())) == 2)
            os.kill(mother, signal.SIGKILL)
        return os.getpid()

    mother = mother_of(pool)
    family = children(mother)
    found = run(
        executor, pooled.wait_until_gone, [0, *[str(tmp_path)] * 2], instead=kill, is_small=bool
    )
    assert found == [os.getpid()] * 3
    wait_for(lambda: not any(map(is_alive, family)))


def test_a_process_that_died_while_it_had_nothing_to_do_is_not_missed(
    executor: LocalExecutor, pool: LocalPool
) -> None:
    for child in children(mother_of(pool)):
        os.kill(child, signal.SIGKILL)
        wait_for(lambda child=child: not is_alive(child))  # type: ignore[misc]
    assert run(executor, pooled.who, [1] * 6) == [os.getpid()] * 6


def test_another_pool_starts_after_a_while(
    executor: LocalExecutor, pool: LocalPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_pool, "RETRY_SECONDS", 0.0)
    run(executor, pooled.die, [1] * 2)
    wait_for(lambda: run(executor, pooled.who, [1]) != [os.getpid()])


def test_an_idle_pool_ends(
    executor: LocalExecutor, pool: LocalPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    mother = mother_of(pool)
    family = children(mother)
    threads = threading.active_count()
    monkeypatch.setattr(local_pool, "IDLE_SECONDS", 0.01)
    run(executor, pooled.who, [1])
    wait_for(lambda: not any(map(is_alive, [mother, *family])))
    wait_for(lambda: threading.active_count() < threads)
    monkeypatch.setattr(local_pool, "IDLE_SECONDS", 60.0)
    wait_for(lambda: run(executor, pooled.who, [1]) != [os.getpid()])


def test_a_cancelled_request_ends_what_its_processes_do(
    running: LocalExecutor, tmp_path: Path
) -> None:
    cancel, progress = CancelFlag(), ProgressCounter()
    seen = 0

    class Cancelling(NeverCancelled):
        def check(self) -> None:
            nonlocal seen
            seen = max(seen, progress.files)
            if len(list(tmp_path.iterdir())) == 2 and seen:
                cancel.cancel("not wanted")
            cancel.check()

    with pytest.raises(Cancelled, match="not wanted"):
        run(
            running,
            pooled.wait_until_gone,
            [str(tmp_path)] * 9,
            cancel=Cancelling(),
            progress=progress,
            give_up=lambda: shutil.rmtree(tmp_path),
        )
    assert seen > 0, "batches tell how far they are while they run"
    assert run(running, pooled.who, [1]) != [os.getpid()], "the processes are there for others"


def test_a_stopped_process_does_not_keep_a_cancelled_request(
    executor: LocalExecutor, pool: LocalPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_share, "CANCEL_SECONDS", 0.1)
    family = children(mother_of(pool))

    class Stopping(NeverCancelled):
        def check(self) -> None:
            if len(list(tmp_path.iterdir())) == 2:
                for child in family:
                    os.kill(child, signal.SIGSTOP)
                raise Cancelled("not wanted")

    with pytest.raises(Cancelled, match="not wanted"):
        run(
            executor,
            pooled.wait_until_gone,
            [str(tmp_path)] * 2,
            cancel=Stopping(),
            give_up=lambda: shutil.rmtree(tmp_path),
        )
    wait_for(lambda: not any(map(is_alive, family)))


def test_signals_for_the_whole_service_leave_its_processes_alone(running: LocalExecutor) -> None:
    mother = mother_of(started(running))
    family = [mother, *children(mother)]
    for process in family:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.kill(process, number)
    assert set(run(running, pooled.who, [1] * 20)) <= set(family)
    assert all(map(is_alive, family))


def test_the_processes_inherit_nothing_that_is_not_for_them(
    executor: LocalExecutor, tmp_path: Path
) -> None:
    found = pool_of(executor)
    assert found is not None
    umask = os.umask(0o077)
    try:
        with (tmp_path / "secret").open("w") as secret:
            os.set_inheritable(secret.fileno(), True)
            found.join()
            found.leave()
            wait_for(lambda: has_started(found))
            mother = mother_of(found)
    finally:
        os.umask(umask)
    for process in (mother, *children(mother)):
        wait_for(lambda process=process: sockets(process) == 1)  # type: ignore[misc]
        assert not [path for path in opened(process) if path.startswith(str(tmp_path))]
        assert "Umask:\t0022" in Path(f"/proc/{process}/status").read_text()


PROGRAM = """
import os, sys
sys.path[:0] = [{top!r}, {src!r}]
from gobbler.transfer.executors import LocalExecutor, pool_of
from unit import pooled
from unit.test_local_pool import run, wait_for, has_started
executor = LocalExecutor(2, processes=2)
pool = pool_of(executor)
pool.join(); pool.leave(); wait_for(lambda: has_started(pool))
run(executor, pooled.wait_until_gone, [sys.argv[1]] * 2)
"""


def test_processes_end_with_the_one_that_they_work_for(tmp_path: Path) -> None:
    source = Path(pool_process.__file__).parents[2]
    program = PROGRAM.format(top=str(TOP), src=str(source))
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)]) as process:
        wait_for(lambda: len(list(tmp_path.iterdir())) == 2)
        workers = [int(path.name.removeprefix("begun-")) for path in tmp_path.iterdir()]
        (mother,) = children(process.pid)
        assert set(children(mother)) == set(workers)
        process.kill()
        wait_for(lambda: not any(map(is_alive, [mother, *workers])))


def test_a_forked_process_does_not_hide_a_death_and_has_a_pool_of_its_own(
    executor: LocalExecutor, pool: LocalPool
) -> None:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        with suppress(BaseException):
            own = PoolShare(pool)
            wait_for(lambda: has_started(pool))
            future = own.submit(pooled.who, 1, ProgressCounter())
            assert future is not None
            while not future.done():
                own.wait(1)
            os.write(writing, str(future.result()).encode())
            signal.pause()
        os._exit(1)
    try:
        answered = int(os.read(reading, 100))
        assert answered not in children(mother_of(pool))
        assert run(executor, pooled.die, [1] * 3) == [os.getpid()] * 3
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(reading)
        os.close(writing)


@pytest.mark.parametrize(
    ("interpreter", "said"),
    [("/nowhere/python", "No such file"), ("/bin/false", "ended at once"), ("", "does not know")],
)
def test_threads_do_the_work_where_no_pool_can_start(
    executor: LocalExecutor,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    interpreter: str,
    said: str,
) -> None:
    monkeypatch.setattr(sys, "executable", interpreter)
    assert run(executor, pooled.who, [1] * 3) == [os.getpid()] * 3
    wait_for(lambda: said in caplog.text)
    caplog.clear()
    assert run(executor, pooled.who, [1] * 3) == [os.getpid()] * 3
    assert not caplog.text, "it is not tried, and told, each time"


def test_threads_do_the_work_where_the_account_may_have_no_more_threads(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    found = LocalPool(2)

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        found.join()
        found.leave()
    assert "can't start new thread" in caplog.text


def test_processes_of_another_version_are_not_used(
    executor: LocalExecutor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pool_process, "hello", lambda: b"another version")
    before = children(os.getpid())
    run(executor, pooled.who, [1])
    wait_for(lambda: "another version of gobbler" in caplog.text)
    wait_for(lambda: not set(filter(is_alive, children(os.getpid()))) - set(before))


def test_two_requests_share_the_processes(running: LocalExecutor) -> None:
    pool = pool_of(running)
    assert pool is not None
    one, other = PoolShare(pool), PoolShare(pool)
    try:
        begun = [one.submit(pooled.who, 1, ProgressCounter()) for _ in range(2 * pool_share.AHEAD)]
        assert None not in begun
        assert one.submit(pooled.who, 1, ProgressCounter()) is None, "each has enough batches ahead"
        assert other.submit(pooled.who, 1, ProgressCounter()) is None
        while one.is_used:
            one.wait(1)
        one.wait(0)
        (mine,) = [future for future in [other.submit(pooled.who, 1, ProgressCounter())] if future]
        theirs = one.submit(pooled.who, 1, ProgressCounter())
        assert theirs is not None
        while one.is_used or other.is_used:
            one.wait(0.01)
            other.wait(0.01)
        assert mine.result() != theirs.result()
    finally:
        one.close()
        other.close()


def test_a_batch_of_a_lost_process_fails_in_its_share(pool: LocalPool) -> None:
    share = PoolShare(pool)
    try:
        future = share.submit(pooled.die, 1, ProgressCounter())
        assert future is not None
        while share.is_used:
            share.wait(1)
        with pytest.raises(ProcessDied):
            future.result()
    finally:
        share.close()


def test_a_process_that_dies_before_it_gets_its_next_batch_loses_both(
    pool: LocalPool, tmp_path: Path
) -> None:
    share = PoolShare(pool)
    try:
        begun = [share.submit(pooled.wait_until_gone, str(tmp_path), ProgressCounter())]
        begun.append(share.submit(pooled.wait_until_gone, str(tmp_path), ProgressCounter()))
        wait_for(lambda: len(list(tmp_path.iterdir())) == 2)
        for child in children(mother_of(pool)):
            os.kill(child, signal.SIGKILL)
            wait_for(lambda child=child: not is_alive(child))  # type: ignore[misc]
        assert share.submit(pooled.who, 1, ProgressCounter()) is None
        for future in begun:
            assert future is not None
            assert isinstance(future.exception(timeout=0), ProcessDied)
    finally:
        share.close()


def test_what_a_process_logs_is_in_the_log_of_the_service(
    running: LocalExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    assert run(running, pooled.warn, ["100 % dog"]) != [os.getpid()]
    assert [(r.name, r.getMessage()) for r in caplog.records] == [
        ("gobbler.test", "beware of the 100 % dog")
    ]


def test_threads_do_the_work_of_a_process_that_may_open_no_more_files(
    running: LocalExecutor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "eventfd", refuse)
    assert run(running, pooled.who, [1]) == [os.getpid()]
    assert "Too many open files" in caplog.text


def test_waking_a_share_that_is_closed_touches_no_other_descriptor(
    running: LocalExecutor, tmp_path: Path
) -> None:
    pool = pool_of(running)
    assert pool is not None
    share = PoolShare(pool)
    share.close()
    with (tmp_path / "file").open("wb") as file:
        for _ in range(8):
            os.dup(file.fileno())
        share.wake()
    assert (tmp_path / "file").read_bytes() == b""


def test_an_executor_without_processes_has_threads_only() -> None:
    with LocalExecutor(1, processes=0) as executor:
        assert pool_of(executor) is None
        assert run(executor, pooled.who, [1]) == [os.getpid()]


def test_closing_ends_the_pool(executor: LocalExecutor, pool: LocalPool) -> None:
    mother = mother_of(pool)
    family = [mother, *children(mother)]
    pool.close()
    assert not any(map(is_alive, family))
    assert run(executor, pooled.who, [1]) == [os.getpid()]


def test_a_stopped_mother_is_killed(pool: LocalPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_mother, "END_SECONDS", 0.05)
    mother = mother_of(pool)
    family = [mother, *children(mother)]
    os.kill(mother, signal.SIGSTOP)
    pool.close()
    wait_for(lambda: not any(map(is_alive, family)))
