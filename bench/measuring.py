"""Time, processor time, memory and system calls, of other processes than this one."""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Sample:
    """What one run took: seconds, processor seconds, and the most memory in bytes."""

    wall: float
    processor: float | None = None
    memory: int | None = None


def children(pid: int) -> list[int]:
    """The processes that ``pid`` has started."""
    return _children().get(pid, [])


def family(pid: int) -> list[int]:
    """``pid`` and all processes below it."""
    below = _children()
    found, waiting = [], [pid]
    while waiting:
        found.append(waiting.pop())
        waiting += below.get(found[-1], [])
    return found


def _children() -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with suppress(OSError):
                fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
                found.setdefault(int(fields[1]), []).append(int(entry))
    return found


def processor_seconds(pid: int) -> float:
    """What ``pid`` and all below it have used so far, those that have ended included."""
    total = 0
    for process in family(pid):
        with suppress(OSError):
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            total += sum(map(int, fields[11:15]))
    return total / _TICKS


def resident(pid: int) -> int:
    """Bytes of memory that ``pid`` and all below it take, shared ones counted by share."""
    total = 0
    for process in family(pid):
        with suppress(OSError):
            text = Path(f"/proc/{process}/smaps_rollup").read_text()
            total += int(re.findall(r"^Pss:\s+(\d+)", text, re.M)[0]) * 1024
    return total


def listener(url: str) -> int | None:
    """The process that leads those that listen at the port of ``url``, if one is seen here."""
    port = urlsplit(url).port or 80
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTENS and int(fields[1].rpartition(":")[2], 16) == port:
                    inodes.add(f"socket:[{fields[9]}]")
    found = [
        int(process)
        for process in os.listdir("/proc")
        if process.isdigit() and _opened(process) & inodes
    ]
    if not found:
        return None
    leader = os.getpgid(min(found))
    return leader if leader not in (0, os.getpgid(0)) and alive(leader) else min(found)


def _opened(process: str) -> set[str]:
    """What the descriptors of a process lead to; nothing if it is none, or another user's."""
    found = set()
    with suppress(OSError):
        for name in os.listdir(f"/proc/{process}/fd"):
            with suppress(OSError):  # it was closed
                found.add(os.readlink(f"/proc/{process}/fd/{name}"))
    return found


def alive(pid: int) -> bool:
    """Whether there is such a process."""
    return Path(f"/proc/{pid}").exists()


_LISTENS = "0A"
"""The state ``TCP_LISTEN`` in ``/proc/net/tcp``."""


@contextmanager
def watching(pid: int) -> Iterator[list[int]]:
    """Within the block, note the memory of ``pid`` and all below it, ten times a second."""
    seen, done = [resident(pid)], threading.Event()

    def look() -> None:
        while not done.wait(0.1):
            seen.append(resident(pid))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


def measured(work: Callable[[], object], pid: int | None) -> Sample:
    """Do ``work``, whose burden is on ``pid`` (``None``: on processes that are waited for)."""
    if pid is None:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        begun = time.perf_counter()
        work()
        wall = time.perf_counter() - begun
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return Sample(wall, used)
    used = processor_seconds(pid)
    begun = time.perf_counter()
    work()
    wall = time.perf_counter() - begun
    return Sample(wall, processor_seconds(pid) - used)


def system_calls(work: Callable[[], object], pid: int) -> dict[str, int] | None:
    """How often ``pid`` and all below it made each call during ``work``, by strace."""
    if shutil.which("strace") is None:
        return None
    with tempfile.NamedTemporaryFile("r") as report:
        targets = [word for process in family(pid) for word in ("-p", str(process))]
        tracer = subprocess.Popen(
            ["strace", "-f", "-c", "-o", report.name, *targets], stderr=subprocess.PIPE
        )
        assert tracer.stderr is not None
        for _ in family(pid):
            tracer.stderr.readline()
        work()
        tracer.send_signal(signal.SIGINT)
        tracer.communicate()
        found = {}
        for line in Path(report.name).read_text().splitlines():
            fields = line.split()
            if len(fields) >= 5 and fields[3].isdigit() and fields[-1] != "total":
                found[fields[-1]] = int(fields[3])
    # What threads do while they wait says nothing about the work.
    return {name: n for name, n in found.items() if name not in _WAITING}


_WAITING = {
    "futex",
    "epoll_wait",
    "epoll_pwait",
    "restart_syscall",
    "clock_nanosleep",
    "poll",
    "sched_yield",
    "select",
    "pselect6",
}
