"""Long jobs: taken up again by another worker, stopped, and not in the way of others."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import Popen

import pytest

from .processes import ENDLESS, Place, public_place, upload_of, wait_for
from .spools import (
    ALICE,
    BOB,
    SERVICE,
    Workers,
    answer_of,
    ask,
    drop,
    hall,
    in_jobs,
    kill,
    state_of,
    submit,
    uid_of,
)

__all__ = ["hall", "public_place"]

GIB = 1 << 30
PARTS = 9
PART = 40 << 20


@pytest.fixture
def large(hall: Place) -> str:
    """A source of Alice's with files that are batches of their own, and one without an end."""
    files: dict[str, bytes | int] = {f"part{number:02}": PART for number in range(PARTS)}
    return hall.stage({**files, "z-endless": ENDLESS}, uid_of(ALICE))


def start(hall: Place, workers: Workers) -> None:
    workers.ready(workers.start())
    payload = {"project": "p", "permissions": {"owners": [ALICE, BOB]}}
    assert ask(hall, None, "create_project", payload)["http_status"] == 200


def copies(place: Place) -> dict[str, int]:
    """The inodes of the copies in the making that seem to be whole."""
    found = {}
    for path in (place.registry / "..incoming").glob("*-task/*/tree/part*"):
        status = path.stat()
        if status.st_size == PART:
            found[path.name] = status.st_ino
    return found


def noted(place: Place) -> int:
    """The number of copies that the next attempt knows."""
    lists = list((place.registry / "..incoming").glob("*-task/*/taken"))
    return sum(path.read_bytes().count(b"part") for path in lists)


def test_the_next_worker_goes_on_from_where_the_last_was(hall: Place, large: str) -> None:
    with Workers(hall, "--concurrency=2", user=SERVICE) as workers:
        start(hall, workers)
        job = submit(hall, ALICE, "upload", upload_of(large))
        wait_for("some are copied", lambda: noted(hall) >= 3, 60)
        kill(workers.processes[0])
        before, known = copies(hall), noted(hall)
        assert in_jobs(hall)
        (hall.staging / large / "z-endless").unlink()
        second = workers.start()
        answer = answer_of(hall, job, patience=90)
        assert answer == {"status": "SUCCESS", "http_status": 200}
        version = hall.registry / "p/a/1"
        after = {path.name: path.stat().st_ino for path in version.glob("part*")}
        assert len(after) == PARTS
        kept = [name for name in before if after[name] == before[name]]
        assert len(kept) >= known >= 3
        assert written_by(second.pid) < (PARTS - known + 1) * PART
        assert state_of(hall, job)["attempts"] == 2
        wait_for("nothing is left", lambda: in_jobs(hall) == [] and hall.incoming() == [])


def written_by(process: int) -> int:
    """Bytes that a process has written."""
    return io_of(process)["wchar"]


def io_of(process: int) -> dict[str, int]:
    """What a process has read and written."""
    lines = Path(f"/proc/{process}/io").read_text().splitlines()
    return {name: int(count) for name, count in (line.split(": ") for line in lines)}


WHOLE = 96 << 20


def recorded(place: Place) -> int:
    """Bytes of the large file that are recorded as copied."""
    sizes = [0]
    for record in (place.registry / "..incoming").glob("*-task/*/*.pieces"):
        sizes += [json.loads(line)[0] for line in record.read_bytes().split(b"\n")[1:-1]]
    return max(sizes)


def run_until(process: Popen[str], reached: Callable[[], bool]) -> None:
    """Let a process run for short moments, and look while it is stopped."""
    while not reached():
        process.send_signal(signal.SIGCONT)
        time.sleep(0.01)
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)


def test_one_large_file_goes_on_where_it_was(hall: Place) -> None:
    part = os.urandom(1 << 20)
    content = b"".join(part[n:] + part[:n] for n in range(WHOLE >> 20))
    source = hall.stage({"large": content}, uid_of(ALICE))
    with Workers(hall, user=SERVICE) as workers:
        start(hall, workers)
        job = submit(hall, ALICE, "upload", upload_of(source))
        run_until(workers.processes[0], lambda: recorded(hall) >= 0.6 * WHOLE)
        known = recorded(hall)
        kill(workers.processes[0])
        assert known < WHOLE
        second = workers.start()
        assert answer_of(hall, job, patience=90)["status"] == "SUCCESS"
        counted = io_of(second.pid)
    copy = hall.registry / "p/a/1/large"
    assert copy.read_bytes() == content
    assert counted["wchar"] < WHOLE - known + (4 << 20)
    assert counted["rchar"] < WHOLE + (48 << 20)  # Python reads its own modules, too
    assert hall.incoming() == []


def test_one_large_file_is_seen_to_advance(hall: Place) -> None:
    with Workers(hall, user=SERVICE) as workers:
        start(hall, workers)
        source = hall.stage({"large": ENDLESS}, uid_of(ALICE))
        job = submit(hall, ALICE, "upload", upload_of(source))
        seen: set[int] = set()

        def advanced() -> bool:
            seen.add(state_of(hall, job).get("progress", {}).get("bytes", 0))
            return len(seen) > 3

        wait_for("progress within a file", advanced)
        progress = state_of(hall, job)["progress"]
        assert progress["bytes_expected"] == ENDLESS
        assert (progress["files"], progress["files_expected"]) == (0, 1)
        assert 0 < progress["bytes"] < ENDLESS
        assert progress["rate"] > 0
        assert progress["seconds_left"] > 0
        ask(hall, ALICE, "cancel_job", {"job": job})
        assert answer_of(hall, job)["http_status"] == 409


def test_what_does_not_end_within_the_grace_period_waits_for_the_next(
    hall: Place, large: str
) -> None:
    with Workers(hall, "--grace=0.2", user=SERVICE) as workers:
        start(hall, workers)
        job = submit(hall, ALICE, "upload", upload_of(large))
        wait_for("it runs", lambda: noted(hall) >= 1, 60)
        workers.processes[0].send_signal(signal.SIGTERM)
        assert workers.processes[0].wait(30) == 0
        assert "will resume the jobs" in workers.output()
        assert state_of(hall, job)["state"] == "waiting"
        (hall.staging / large / "z-endless").unlink()
        workers.start()
        assert answer_of(hall, job, patience=90)["status"] == "SUCCESS"
        # A worker that was stopped is no fault of the job.
        assert state_of(hall, job)["attempts"] == 1


def test_what_ends_within_the_grace_period_is_answered(hall: Place) -> None:
    with Workers(hall, "--grace=60", user=SERVICE) as workers:
        start(hall, workers)
        source = hall.stage({"large": GIB // 2}, uid_of(ALICE))
        job = submit(hall, ALICE, "upload", upload_of(source))
        wait_for("it runs", lambda: state_of(hall, job).get("state") == "running")
        workers.processes[0].send_signal(signal.SIGTERM)
        late = submit(hall, BOB, "health_check", {})
        assert workers.processes[0].wait(90) == 0
        assert answer_of(hall, job)["status"] == "SUCCESS"
        assert state_of(hall, late) == {}, "a job was taken after the signal"


def test_nobody_waits_for_another_users_jobs(hall: Place) -> None:
    """Alice has long jobs that occupy all she may, and a thousand that wait; Bob has one."""
    with Workers(hall, "--jobs=3", "--concurrency=1", user=SERVICE) as workers:
        start(hall, workers)
        alice = uid_of(ALICE)
        endless = hall.stage({f"endless{n}": ENDLESS for n in range(3)}, alice)
        long = [submit(hall, ALICE, "upload", upload_of(endless, f"v{n}")) for n in range(5)]
        running = lambda: [j for j in long if state_of(hall, j).get("state") == "running"]  # noqa: E731
        wait_for("her jobs run", lambda: len(running()) == 2)
        many = [(alice, f"request-upload-{n}", upload_of(endless, f"m{n}")) for n in range(1000)]
        drop(hall, many)
        source = hall.stage({"f": b"1", "more": 32 << 20}, uid_of(BOB))
        job = submit(hall, BOB, "upload", upload_of(source, "bobs"))
        assert answer_of(hall, job, BOB)["status"] == "SUCCESS"
        assert len(running()) == 2, "the last slot is not hers"
        # Quick requests do not wait for slow ones, even those of the same user.
        listed = ask(hall, ALICE, "list_jobs", {})["jobs"]
        assert len(listed) > 1000
        waiting = next(j for j in long if j not in running())
        assert ask(hall, ALICE, "cancel_job", {"job": waiting})["http_status"] == 200
        assert "cancelled" in answer_of(hall, waiting)["reason"]
        assert len(running()) == 2
        for other in running():
            ask(hall, ALICE, "cancel_job", {"job": other})
            assert "cancelled" in answer_of(hall, other)["reason"]


def test_garbage_is_set_aside_while_the_rest_goes_on(hall: Place) -> None:
    """Alice throws all she has into ``new``, again and again; Bob's requests are answered."""
    with Workers(hall, user=SERVICE) as workers:
        start(hall, workers)
        new = hall.staging / "..spool/new"
        alice = uid_of(ALICE)
        for number in range(200):
            path = hall.staging / "..spool/tmp" / f"request-upload-{number}"
            kind = number % 6
            if kind == 0:
                path.symlink_to("/etc/shadow")
            elif kind == 1:
                os.mkfifo(path)
            elif kind == 2:
                path.mkdir()
            elif kind == 3:
                path.mkdir()
                (path / "inside").touch()
            else:
                path.write_bytes(b"[" * 100_000 if kind == 4 else b"{}")
                path.chmod(0o600 if kind == 5 else 0o644)
            os.chown(path, alice, -1, follow_symlinks=False)
            path.rename(new / path.name)
        stop = threading.Event()

        def keep_throwing() -> None:
            number = 0
            while not stop.wait(0.01):
                number += 1
                name = os.fsdecode(b"garbage-\xff-%d" % number)
                path = hall.staging / "..spool/tmp" / name
                os.mkfifo(path)
                os.chown(path, alice, -1)
                path.rename(new / name)

        thread = threading.Thread(target=keep_throwing)
        thread.start()
        try:
            for _ in range(5):
                assert ask(hall, BOB, "health_check", {})["status"] == "SUCCESS"
        finally:
            stop.set()
            thread.join()
        refused = {"0": "a symbolic link", "1": "a FIFO", "2": "a directory", "3": "a directory"}
        refused |= {"4": "not valid", "5": "may not read"}
        for number, reason in refused.items():
            answer = answer_of(hall, f"{alice}-request-upload-{number}", ALICE)
            assert reason in answer["reason"]
            assert answer["http_status"] == 400
        # A directory that isn't empty can't be moved or removed by anyone but its owner.
        left = lambda: [p for p in new.iterdir() if not (p.is_dir() and any(p.iterdir()))]  # noqa: E731
        wait_for("all else is set aside", lambda: not left())
        assert "Traceback" not in workers.output()
