"""The original client against ours, with the same service, in one run.

``fetch``: a version of 3,000 files of 4 KiB, over HTTP into an empty cache. ``upload``: a
directory outside of staging, of the same files and one of 256 MiB. Both clients take turns,
each in a process of its own, calling the same function of ``pygobbler``; the smallest of
the times of each counts. The limits are printed beside: the processor time of client and
service, and how long ``md5sum`` takes. The original needs an interpreter that has it and nothing
of ours::

    python3 -m venv /tmp/original && /tmp/original/bin/pip install pygobbler==0.1.11
    python -m bench.original /tmp/original/bin/python
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from subprocess import DEVNULL

from bench.measuring import children, measured, processor_seconds
from gobbler.client import Client
from gobbler.client.testing import TestService

FETCH = """
import json, os, sys, time
import pygobbler
url, staging, registry, source, fresh = sys.argv[1:]
used, begun = time.process_time(), time.perf_counter()
path = pygobbler.fetch_directory("p/a/1", registry, url, cache=fresh, force_remote=True)
wall = time.perf_counter() - begun
files = sum(len(names) for _, _, names in os.walk(path)) - 2
print(json.dumps({"seconds": wall, "processor": time.process_time() - used, "files": files}))
"""

UPLOAD = """
import json, os, sys, time
import pygobbler
url, staging, registry, source, project, asset = sys.argv[1:]
used, begun = time.process_time(), time.perf_counter()
pygobbler.upload_directory(project, asset, "1", source, staging=staging, url=url)
wall = time.perf_counter() - begun
with open(f"{registry}/{project}/{asset}/1/..manifest") as manifest:
    files = len(json.load(manifest))
print(json.dumps({"seconds": wall, "processor": time.process_time() - used, "files": files}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.original", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("original", help="Python that has pygobbler 0.1.11")
    parser.add_argument("--files", type=int, default=3000)
    parser.add_argument("--size", type=int, default=4096, help="bytes of each of them")
    parser.add_argument("--large", type=int, default=256, help="MiB of the large one")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--directory", help="where registry and caches are made")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.directory) as top:
        _measure(Path(top), given)


def _measure(top: Path, given: argparse.Namespace) -> None:
    for name, mode in (("staging", 0o1777), ("registry", 0o755), ("source", 0o755)):
        (top / name).mkdir()
        (top / name).chmod(mode)
    for i in range(given.files):
        directory = top / "source" / f"d{i % 10}"
        directory.mkdir(exist_ok=True)
        (directory / f"file-{i}").write_bytes(os.urandom(given.size))
    service = TestService(staging=top / "staging", registry=top / "registry")
    try:
        client = Client(service.url)
        client.admin.create_project("p")
        client.upload("p", "a", "1", top / "source")
        _compare("fetch", FETCH, service, top, given, expected=given.files)
        with (top / "source/large").open("wb") as large:
            for _ in range(given.large):
                large.write(os.urandom(1 << 20))
        _compare("upload", UPLOAD, service, top, given, expected=given.files + 1)
        best = min(_md5sum(top / "source/large") for _ in range(given.rounds))
        print(f"md5sum of the large file, as client and service compute it: {best:.3f} s")
    finally:
        service.stop()


def _md5sum(file: Path) -> float:
    return measured(lambda: subprocess.run(["md5sum", file], check=True, stdout=DEVNULL), None).wall


def _compare(
    what: str,
    program: str,
    service: TestService,
    top: Path,
    given: argparse.Namespace,
    *,
    expected: int,
) -> None:
    best: dict[str, float] = {}
    (serving,) = children(os.getpid())
    pythons = {"original": given.original, "ours": sys.executable}
    for turn in range(1, given.rounds + 1):
        for name, python in pythons.items():
            # Not removed in between: some filesystems take long to reuse what was freed.
            fresh = f"{what}-{name}-{turn}"
            target = [str(top / fresh)] if program is FETCH else ["p", fresh]
            words = [service.url, service.staging, service.registry, str(top / "source"), *target]
            used = processor_seconds(serving)
            done = subprocess.run(
                [python, "-c", program, *words], check=False, capture_output=True, text=True
            )
            used = processor_seconds(serving) - used
            assert done.returncode == 0, done.stderr
            told = json.loads(done.stdout)
            assert told["files"] == expected, told
            best[name] = min(best.get(name, told["seconds"]), told["seconds"])
            print(
                f"{what} {turn} {name:8} {told['seconds']:7.3f} s,"
                f" {told['processor']:.3f} s of processor, {used:.2f} s of the service's",
                flush=True,
            )
    ratio = best["original"] / best["ours"]
    print(
        f"{what}, minimum: {best['original']:.3f} s and {best['ours']:.3f} s: "
        f"{ratio:.1f} times as fast"
    )


if __name__ == "__main__":
    main()
