"""Unused memory goes back to the system."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import threading, time
from gobbler.fs import memory

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

memory.RELEASE_AFTER = 0.05
memory.limit_arenas()
pieces = []
def fill():
    # Too small for mappings of their own; the last one keeps the heap from shrinking by itself.
    pieces.extend(bytearray(60_000) for _ in range(1000))
worker = threading.Thread(target=fill)
worker.start(); worker.join()
del pieces[:-1]
before = resident()
for _ in range(3):
    memory.release_soon()
print("threads", sum(thread.name == "memory" for thread in threading.enumerate()))
deadline = time.monotonic() + 20
while resident() > before - 30_000_000 and time.monotonic() < deadline:
    time.sleep(0.01)
print("released", before - resident())
"""


def test_unused_memory_is_released_once_and_in_the_background() -> None:
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    found = dict(line.split() for line in ended.stdout.splitlines())
    assert found["threads"] == "1", ended.stderr
    assert int(found["released"]) >= 30_000_000


ARENAS = """
import ctypes, sys, threading
from gobbler.fs import memory
if sys.argv[1] == "limited":
    memory.limit_arenas()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
ready, done = threading.Barrier(9), threading.Event()
def allocate():
    libc.malloc(ctypes.c_size_t(1000))
    ready.wait()
    done.wait()
threads = [threading.Thread(target=allocate) for _ in range(8)]
for thread in threads: thread.start()
ready.wait()
print(open("/proc/self/maps").read())
done.set()
"""


def test_threads_share_few_heaps() -> None:
    def heaps(how: str) -> int:
        shown = subprocess.run(
            [sys.executable, "-c", ARENAS, how], capture_output=True, text=True, check=True
        ).stdout
        # The library maps each of its own heaps in a place that is a multiple of 64 MiB.
        starts = re.findall(r"^([0-9a-f]+)-[0-9a-f]+ rw-p 00000000 00:00 0 *$", shown, re.MULTILINE)
        return sum(int(start, 16) % (64 << 20) == 0 for start in starts)

    assert heaps("limited") <= 1
    if "libc.so.6" in Path("/proc/self/maps").read_text():  # others have no such heaps
        assert heaps("free") > 1
