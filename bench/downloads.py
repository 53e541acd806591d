"""A version of many small files: the original client's fetch against ours, in one run.

The two take turns, each in a process of its own with an empty cache, against the same
service; the smallest of the times of each counts. The original client needs an interpreter
that has it and nothing of ours::

    python3 -m venv /tmp/original && /tmp/original/bin/pip install pygobbler==0.1.11
    python bench/downloads.py /tmp/original/bin/python
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from gobbler.client import Client
from gobbler.client.testing import TestService

PROGRAM = """
import json, os, sys, time
import pygobbler
url, registry, cache = sys.argv[1:]
begun = time.perf_counter()
path = pygobbler.fetch_directory("p/a/1", registry, url, cache=cache, force_remote=True)
wall = time.perf_counter() - begun
files = sum(len(names) for _, _, names in os.walk(path))
print(json.dumps({"seconds": wall, "processor": time.process_time(), "files": files}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("original", help="Python that has pygobbler 0.1.11")
    parser.add_argument("--files", type=int, default=3000)
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--directory", help="where registry and caches are made")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.directory) as top:
        measure(Path(top), given)


def measure(top: Path, given: argparse.Namespace) -> None:
    for name, mode in (("staging", 0o1777), ("registry", 0o755), ("source", 0o755)):
        (top / name).mkdir()
        (top / name).chmod(mode)
    for i in range(given.files):
        directory = top / "source" / f"d{i % 10}"
        directory.mkdir(exist_ok=True)
        (directory / f"file-{i}").write_bytes(os.urandom(given.size))
    service = TestService(staging=top / "staging", registry=top / "registry")
    pythons = {"original": given.original, "ours": sys.executable}
    best: dict[str, float] = {}
    try:
        client = Client(service.url)
        client.create_project("p")
        client.upload("p", "a", "1", top / "source")
        for turn in range(1, given.rounds + 1):
            for name, python in pythons.items():
                # Not removed in between: some filesystems take long to reuse what was freed.
                cache = top / f"cache-{name}-{turn}"
                command = [python, "-c", PROGRAM, service.url, service.registry, str(cache)]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                told = json.loads(done.stdout)
                assert told["files"] == given.files + 2, told
                best[name] = min(best.get(name, told["seconds"]), told["seconds"])
                print(
                    f"{turn} {name:8} {told['seconds']:7.3f} s,"
                    f" {told['processor']:.3f} s of processor",
                    flush=True,
                )
    finally:
        service.stop()
    ratio = best["original"] / best["ours"]
    print(f"minimum: {best['original']:.3f} s and {best['ours']:.3f} s: {ratio:.1f} times as fast")


if __name__ == "__main__":
    main()
