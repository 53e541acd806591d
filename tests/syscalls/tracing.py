"""``strace`` on threads: which system calls they make, and what is made of one of them.

``when=`` counts the calls of one name that one thread makes after it was attached. Whichever
thread carries out a request does all of it, so the others, which wait, do not matter.
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable
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
    *("faccessat2", "readlink", "readlinkat", "getdents64", "read", "readv", "pread64", "close"),
    *("fcntl",),
)

TRACED = ",".join(f"?{name}" for name in (*CHANGING, *LOOKING))
"""The calls about files; ``?``: those that this kind of machine has not are left out."""


class Call(NamedTuple):
    """One system call: its name, which one of that name it is, and as it is told."""

    name: str
    count: int
    told: str


class Tracer:
    """``strace`` attached to threads during the block."""

    def __init__(self, threads: Iterable[int], output: Path, *options: str) -> None:
        self._output = output
        chosen = [f"--attach={thread}" for thread in threads]
        command = ["strace", "-y", "-s", "0", "-o", str(output), *chosen, *options]
        self._process = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        assert self._process.stderr is not None
        for _ in chosen:
            told = self._process.stderr.readline()
            if "attached" not in told:
                self._process.kill()
                self._process.wait()
                raise RuntimeError(f"strace can't be attached: {told}{self._process.stderr.read()}")

    def __enter__(self) -> Tracer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.send_signal(signal.SIGTERM)
        assert self._process.stderr is not None
        self._process.stderr.read()
        self._process.stderr.close()
        self._process.wait()

    def lines(self) -> list[str]:
        """What was traced; once the block has ended."""
        return self._output.read_text(errors="replace").splitlines()

    def hit(self) -> str:
        """The call that was made to fail, as it is told; empty if there was none."""
        return next((line for line in self.lines() if line.endswith("(INJECTED)")), "")


def traced(threads: Iterable[int], output: Path) -> Tracer:
    """Note all calls about files."""
    return Tracer(threads, output, "-e", f"trace={TRACED}")


def killed_at(threads: Iterable[int], output: Path, call: Call) -> Tracer:
    """Kill the process right before ``call``."""
    return _injected(threads, output, call, "signal=SIGKILL")


def failed_at(threads: Iterable[int], output: Path, call: Call, error: str) -> Tracer:
    """Have ``call`` fail with ``error`` instead of being made."""
    return _injected(threads, output, call, f"error={error}")


def _injected(threads: Iterable[int], output: Path, call: Call, what: str) -> Tracer:
    expression = f"inject={call.name}:{what}:when={call.count}"
    return Tracer(threads, output, "-e", f"trace={call.name}", "-e", expression)


def calls_in(lines: list[str], base: Path) -> list[Call]:
    """The calls of a trace in their order; paths are told relative to ``base``."""
    counts: dict[str, int] = {}
    found = []
    for line in lines:
        match = re.match(r"(?:\d+ +)?([a-z0-9_]+)\(", line)
        if match:
            name = match[1]
            counts[name] = counts.get(name, 0) + 1
            found.append(Call(name, counts[name], line[match.start(1) :].replace(f"{base}/", "")))
    return found


def why_not() -> str:
    """Why calls can't be traced here; empty if they can."""
    if sys.platform != "linux" or shutil.which("strace") is None:
        return "there is no strace"
    with subprocess.Popen(["sleep", "60"]) as sleeper:
        try:
            with Tracer([sleeper.pid], Path("/dev/null"), "-e", "trace=none"):
                return ""
        except RuntimeError as error:
            return str(error)
        finally:
            sleeper.kill()
