"""What users put into ``new``, and what becomes of it; as a service's account sees it."""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gobbler.errors import Missing, Refused
from gobbler.fs.authorship import Authorship
from gobbler.fs.flush import Durability
from gobbler.fs.layout import staging_directories
from gobbler.model.jobs import job_name
from gobbler.spool.backlog import Backlog
from gobbler.spool.inbox import Inbox
from gobbler.spool.replay_guard import ReplayGuard
from gobbler.spool.spool import Spool

NAME = "request-health_check-1"
UID = os.geteuid()
JOB = job_name(UID, NAME)
ENDED = Refused("what came of it")


class Desk:
    def __init__(self, staging: Path) -> None:
        for path, mode in staging_directories(str(staging)):
            os.mkdir(path)
            os.chmod(path, mode)
        self.spool = Spool(str(staging), Durability.RELAXED)
        self.begun = ReplayGuard(f"{staging}/..requests")
        self.arrivals = Inbox(self.spool, self.begun, Authorship())
        self.new, self.cur = Path(self.spool.new), Path(self.spool.cur)

    def put(self, content: bytes = b"{}", name: str = NAME) -> Path:
        written = Path(self.spool.tmp, name)
        written.write_bytes(content)
        return written.rename(self.new / name)

    def claim(self, name: str = NAME) -> str | None:
        claimed = self.arrivals.claim(name)
        if claimed is None:
            return None
        claimed.lease.release()
        return claimed.job

    def reason(self, job: str = JOB) -> str:
        state = self.spool.answers.state(job)
        assert state.state == "failed"
        answer = state.answer
        assert isinstance(answer, dict)
        assert answer["status"] == "ERROR"
        return str(answer["reason"])

    def refused(self) -> list[Path]:
        return [path for path in self.cur.iterdir() if path.suffix not in (".answer", ".state")]

    def in_jobs(self) -> list[str]:
        return os.listdir(self.spool.records.directory)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_a_request_becomes_a_job_that_waits(desk: Desk) -> None:
    desk.put(b'{"a": 1}')
    assert desk.claim() == JOB
    assert desk.in_jobs() == [f"{JOB}.0.job"]
    assert list(desk.new.iterdir()) == []
    assert (desk.cur / JOB).read_bytes() == b'{"a": 1}'
    state = desk.spool.answers.state(JOB)
    assert (state.state, state.action) == ("waiting", "health_check")
    record = desk.spool.begin(JOB, 0)
    assert record is not None
    assert (record.uid, record.name, record.data) == (UID, NAME, b'{"a": 1}')


def test_it_waits_for_one_of_its_name_that_is_not_answered(desk: Desk) -> None:
    desk.put()
    desk.claim()
    desk.put(b'{"second": 1}')
    backlog = Backlog(desk.spool, desk.arrivals)
    assert backlog.refresh(ours=()) == {JOB}
    assert backlog.file_of(JOB) is None
    assert desk.claim() is None
    assert (desk.new / NAME).exists()
    desk.spool.remove(JOB, 0)
    assert desk.claim() == JOB


def test_a_claimant_that_comes_too_late_leaves_the_answer_alone(desk: Desk) -> None:
    desk.put()
    assert desk.claim() == JOB
    desk.spool.answers.refuse(JOB, ENDED)
    desk.spool.remove(JOB, 0)
    assert desk.claim() is None
    assert desk.reason() == "what came of it"


def _directory(path: Path) -> None:
    path.mkdir()
    (path / "inside").touch()


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        here = os.open(path.parent, os.O_RDONLY)
        made.bind(f"/proc/self/fd/{here}/{path.name}")
        os.close(here)


def _large(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


def _old(path: Path) -> None:
    path.write_bytes(b"{}")
    os.utime(path, (time.time() - 61,) * 2)


def _linked(path: Path) -> None:
    path.write_bytes(b"{}")
    os.link(path, path.parent.parent / "tmp" / "another name")


GARBAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a directory": (Path.mkdir, "is a directory"),
    "a full directory": (_directory, "is a directory"),
    "a FIFO": (os.mkfifo, "is a FIFO"),
    "a socket": (_socket, "is a socket"),
    "a link": (lambda path: path.symlink_to("/etc/shadow"), "is a symbolic link"),
    "a dead link": (lambda path: path.symlink_to("nowhere"), "is a symbolic link"),
    "a huge file": (_large, "larger than 1 MiB"),
    "an old file": (_old, "is expired"),
}


@pytest.mark.parametrize("what", GARBAGE)
def test_what_is_no_request_is_set_aside_with_a_reason(desk: Desk, what: str) -> None:
    make, reason = GARBAGE[what]
    make(desk.new / NAME)
    assert desk.claim() is None
    assert reason in desk.reason()
    assert NAME in desk.reason()
    assert list(desk.new.iterdir()) == []
    assert desk.in_jobs() == []
    (aside,) = desk.refused()
    assert aside.name == f"{UID}-refused-{aside.lstat().st_ino:x}"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("whatever", "starts with `request-`"),
        ("request-a\\b", "not a plain file name"),
        ("request-upload-\n", "control character"),
        (os.fsdecode(b"request-upload-\xff\xfe"), "not valid UTF-8"),
        ("request-upload-" + "x" * 186, "longer than 200 bytes"),
        ("request-upload-" + "x" * 240, "longer than 200 bytes"),
        ("request-upload-1.answer", "ends with .state or .answer"),
    ],
)
def test_a_bad_name_is_set_aside_too(desk: Desk, name: str, reason: str) -> None:
    path = desk.put(name=name)
    inode = path.stat().st_ino
    assert desk.claim(name) is None
    assert list(desk.new.iterdir()) == []
    reported = job_name(UID, name) if name == "whatever" or "\\" in name else None
    assert reason in desk.reason(reported or f"{UID}-refused-{inode:x}")


def test_a_file_with_two_names_is_never_answered_as_its_owners_job(desk: Desk) -> None:
    desk.put()
    assert desk.claim() == JOB
    desk.spool.answers.refuse(JOB, ENDED)
    desk.spool.remove(JOB, 0)
    _linked(desk.new / NAME)
    assert desk.claim() is None
    assert desk.reason() == "what came of it"
    (aside,) = desk.refused()
    assert "more than one hard link" in desk.reason(aside.name)


def test_a_request_is_not_taken_twice_through_another_name_of_its_file(desk: Desk) -> None:
    path = desk.put()
    os.link(path, desk.new.parent / "kept")
    (desk.new.parent / "kept").rename(desk.new.parent / "tmp" / "kept")
    path.unlink()
    (desk.new.parent / "tmp" / "kept").rename(desk.new / NAME)
    assert desk.claim() == JOB
    os.link(desk.cur / JOB, desk.new.parent / "tmp" / "kept")
    desk.spool.answers.refuse(JOB, ENDED)
    desk.spool.remove(JOB, 0)
    (desk.new.parent / "tmp" / "kept").rename(desk.new / "request-health_check-2")
    assert desk.claim("request-health_check-2") is None
    assert "carried out already" in desk.reason(job_name(UID, "request-health_check-2"))


def test_a_leased_file_is_set_aside(desk: Desk) -> None:
    """Opening it would wait for the holder of the lease, or fail."""
    path = desk.put()
    with path.open("r+b") as file:
        try:
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        except OSError as error:
            pytest.skip(f"no leases here: {error}")
        before = signal.signal(signal.SIGIO, signal.SIG_IGN)
        try:
            assert desk.claim() is None
        finally:
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
            signal.signal(signal.SIGIO, before)
    assert "holds a lease" in desk.reason()
    assert list(desk.new.iterdir()) == []


def test_a_time_in_the_future_is_no_reason_to_refuse(desk: Desk) -> None:
    """The clock of the host that wrote it may be ahead."""
    path = desk.put()
    os.utime(path, (time.time() + 7200,) * 2)
    assert desk.claim() == JOB


def test_files_that_are_swapped_all_the_time_are_taken_as_what_they_are(desk: Desk) -> None:
    """A user's own file and a link to a secret change places; the link is never followed."""
    secret = desk.new.parent / "secret"
    secret.write_bytes(b"secret")
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):
        pytest.skip("no renameat2 here")
    stop = threading.Event()
    here, other = os.fsencode(desk.new / NAME), os.fsencode(desk.new.parent / "tmp" / "other")

    def swap() -> None:
        while not stop.is_set():
            libc.renameat2(-100, here, -100, other, 2)

    for turn in range(60):
        Path(os.fsdecode(other)).unlink(missing_ok=True)
        desk.put(b"{}")
        Path(os.fsdecode(other)).symlink_to(secret)
        thread = threading.Thread(target=swap)
        thread.start()
        try:
            deadline = time.monotonic() + 0.02
            job = None
            while job is None and time.monotonic() < deadline:
                job = desk.claim()
        finally:
            stop.set()
            thread.join()
            stop.clear()
        for known in desk.spool.records.pending().values():
            assert known.attempts == 0
            assert known.claim is None
        if desk.spool.records.exists(JOB):
            record = desk.spool.begin(JOB, 0)
            assert record is not None
            assert record.data == b"{}", f"turn {turn}"
            desk.spool.remove(JOB, 1)
        for path in (*desk.new.iterdir(), *desk.refused()):
            path.unlink()
    assert secret.read_bytes() == b"secret"


def test_cancelling_speaks_of_one_job_under_one_name(desk: Desk) -> None:
    desk.put()
    desk.claim()
    with pytest.raises(Missing):
        desk.spool.cancel(f"0{JOB}", UID)
    desk.spool.cancel(JOB, UID)
    assert desk.spool.records.is_cancelled(JOB)


def test_a_mark_that_an_earlier_job_was_cancelled_is_not_for_the_next(desk: Desk) -> None:
    mark = Path(desk.spool.records.cancel_mark(JOB))
    mark.touch()
    os.utime(mark, (time.time() - 5,) * 2)
    desk.put()
    desk.claim()
    assert not desk.spool.records.is_cancelled(JOB)
