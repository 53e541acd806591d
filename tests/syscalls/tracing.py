"""``strace`` on threads: which system calls they make, and what is made of one of them.

``when=`` counts the calls of one name that one thread makes after it was attached. A request
is the work of up to three threads: the one that carries it out, one of the executor for
batches of files, and while a large file is copied, one that writes. Or a process of the local pool
does its batches. So a call is known by
its thread, its name, and which one of that name it is there; and only threads of that kind
are attached when something is to be made of it.
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

CHANGING = (
    *("mkdir", "mkdirat", "rename", "renameat", "renameat2", "link", "linkat", "symlink"),
    *("symlinkat", "unlink", "unlinkat", "rmdir", "write", "writev", "pwrite64", "ftruncate"),
    *("fsync", "fdatasync", "syncfs", "sync_file_range", "chmod", "fchmod", "fchmodat"),
    *("utimensat", "flock", "copy_file_range"),
)

LOOKING = (
    *("open", "openat", "stat", "lstat", "fstat", "newfstatat", "statx", "access", "faccessat"),
    *("faccessat2", "readlink", "readlinkat", "getdents64", "read", "readv", "pread64", "preadv2"),
    *("fcntl", "lseek", "close"),
)

TRACED = ",".join(f"?{name}" for name in (*CHANGING, *LOOKING))
"""The calls about files; ``?``: those that this kind of machine has not are left out."""


REQUEST, BATCH, COPY, POOL = "request", "batch", "copy", "pool"
"""Kinds of threads: of requests, of batches of files, of the writing of a large file.

``POOL``: that of a process of the local pool.
"""


PATIENCE = 5.0
"""Seconds in which strace must detach."""


class RequestContext(NamedTuple):
    """One system call: its name, its number among those of its thread, and its text."""

    name: str
    count: int
    told: str
    thread: str = REQUEST


class Target(NamedTuple):
    """What is attached: ``threads``, or with ``follow`` all of their process, new ones too."""

    threads: tuple[int, ...]
    follow: bool = False


class Tracer:
    """``strace`` attached to threads during the block."""

    def __init__(self, target: Target, output: Path, *options: str) -> None:
        if not target.threads:
            raise RuntimeError("there is no thread to attach to")
        self._output = output
        if target.follow:
            options = ("--follow-forks", *options)
        command = ["strace", "-y", "-s", "0", "-o", str(output), *options]
        threads = target.threads
        while told := self._attach(command, threads):
            # A thread that flushed a directory is joined before the kernel has removed it.
            living = tuple(thread for thread in threads if _lives(thread))
            if not living or living == threads:
                raise RuntimeError(f"strace can't be attached: {told}")
            threads = living

    def _attach(self, command: list[str], threads: tuple[int, ...]) -> str:
        """Start ``strace`` on ``threads``; what it says if that fails."""
        chosen = [f"--attach={thread}" for thread in threads]
        self._process = subprocess.Popen(
            [*command, *chosen], stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        assert self._process.stderr is not None
        for _ in chosen:
            told = self._process.stderr.readline()
            if "attached" not in told:
                self._process.kill()
                return f"{told}{self._process.communicate()[1]}"
        return ""

    def __enter__(self) -> Tracer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            # It may wait for threads of a process that was killed: they are gone.
            self._process.kill()
            self._process.communicate()

    def lines(self) -> list[str]:
        """What was traced; once the block has ended."""
        return self._output.read_text(errors="replace").splitlines()

    def hit(self) -> str:
        """The text of the call that was made to fail; empty if there was none."""
        return next((line for line in self.lines() if line.endswith("(INJECTED)")), "")

    def last(self) -> str:
        """The text of the call before which the process was killed."""
        calls = [line for line in self.lines() if "(" in line and "+++" not in line]
        return calls[-1] if calls else ""


def _lives(thread: int) -> bool:
    return Path(f"/proc/{thread}").exists()


def traced(target: Target, output: Path) -> Tracer:
    """Note all calls about files."""
    return Tracer(target, output, "-e", f"trace={TRACED}")


def killed_at(target: Target, output: Path, call: RequestContext) -> Tracer:
    """Kill the process right before ``call``."""
    return _injected(target, output, call, "signal=SIGKILL")


def failed_at(target: Target, output: Path, call: RequestContext, error: str) -> Tracer:
    """Have ``call`` fail with ``error`` instead of being made."""
    return _injected(target, output, call, f"error={error}")


def _injected(target: Target, output: Path, call: RequestContext, what: str) -> Tracer:
    expression = f"inject={call.name}:{what}:when={call.count}"
    return Tracer(target, output, "-e", f"trace={call.name}", "-e", expression)


def calls_in(lines: list[str], base: Path, kind: Callable[[int], str]) -> list[RequestContext]:
    """The calls of a trace in their order; paths are relative to ``base``.

    ``kind`` tells of which kind a thread is; those of no kind are left out.
    """
    counts: Counter[tuple[str, str]] = Counter()
    found = []
    for line in lines:
        match = re.match(r"(\d+) +([a-z0-9_]+)\(", line)
        if match and (thread := kind(int(match[1]))):
            name = match[2]
            counts[thread, name] += 1
            told = line[match.start(2) :].replace(f"{base}/", "")
            found.append(RequestContext(name, counts[thread, name], told, thread))
    return found


def why_not() -> str:
    """Why calls can't be traced here; empty if they can."""
    if sys.platform != "linux" or shutil.which("strace") is None:
        return "there is no strace"
    with subprocess.Popen(["sleep", "60"]) as sleeper:
        try:
            with Tracer(Target((sleeper.pid,)), Path("/dev/null"), "-e", "trace=none"):
                return ""
        except RuntimeError as error:
            return str(error)
        finally:
            sleeper.kill()
