"""Threads or processes, and how many: batches of files with each kind of executor.

Requests are carried out in this process, so that nothing but the executor differs. Runs of
all take turns; look at the minimum, and at processor seconds, which others on the machine
disturb less.

::

    python -m bench.engine                          # all, on this filesystem
    python -m bench.engine --work small --runs 9
    python -m bench.engine --slow 1000              # a service where each call takes 1 ms more

With ``--slow`` real services are started whose every call on a file is delayed (``slow.c``,
which takes a C compiler), with ``--concurrency`` 2, 8 and 32.
"""

from __future__ import annotations

import argparse
import os
import pwd
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from bench import data
from bench.peers import Peer
from gobbler.client.testing import TestService
from gobbler.fs.flush import Durability
from gobbler.service.context import InProcess
from gobbler.service.settings import Settings

GIB = 1 << 30
WIDTHS = (2, 8, 32)

KINDS: dict[str, tuple[int, Callable[[], Executor]]] = {
    **{f"threads {n}": (n, partial(ThreadPoolExecutor, n)) for n in (1, 2, 4, 8)},
    "processes 2": (2, partial(ProcessPoolExecutor, 2)),
}


def small(top: Path, scale: float) -> tuple[str, int]:
    """10,000 files of 4 KiB."""
    files = max(1, int(10_000 * scale))
    data.small_files(top, files, 4096)
    return f"{files:,} files of 4 KiB", files


def large(top: Path, scale: float, count: int = 1) -> tuple[str, int]:
    """Files of 1 GiB."""
    size = int(GIB * scale) >> 20 << 20
    for number in range(count):
        data.one_file(top / str(number), size)
    return f"{count} of {size >> 20:,} MiB", count * size // 10**6


WORK: dict[str, Callable[[Path, float], tuple[str, int]]] = {
    "small": small,
    "large": large,
    "four": lambda top, scale: large(top, scale, 4),
}


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m bench.engine")
    parser.add_argument("--work", action="append", choices=sorted(WORK), help="repeatable")
    parser.add_argument("--runs", type=int, default=5, help="of each kind (5)")
    parser.add_argument("--scale", type=float, default=1.0, help="fraction of the data (1)")
    parser.add_argument("--directory", help="where staging and registry are made")
    parser.add_argument("--slow", type=int, metavar="MICROSECONDS", help="delay each call")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gobbler-engine-", dir=options.directory) as name:
        top = Path(name)
        top.chmod(0o755)
        if options.slow is not None:
            _slow(top, options.slow, max(1, int(3000 * options.scale)))
            return 0
        for work in options.work or WORK:
            _compare(top / work, work, options)
    return 0


def _compare(top: Path, work: str, options: argparse.Namespace) -> None:
    settings = _settings(top)
    title, amount = WORK[work](top / "staging/source", options.scale)
    seen: dict[tuple[str, str], list[tuple[float, float]]] = {}
    with InProcess(settings) as site:
        site.carry_out("create_project", {"project": "p"})
        for run in range(options.runs):
            for kind, (width, make) in KINDS.items():
                version = {"project": "p", "asset": f"{run}-{kind}", "version": "1"}
                upload = {**version, "source": "source"}
                for action, request in (("upload", upload), ("validate_version", version)):
                    ingested = _measured(settings, width, make, action, request)
                    seen.setdefault((action, kind), []).append(ingested)
                site.carry_out("delete_asset", version)
    print(f"\n{title}, {options.runs} runs")
    for (action, kind), samples in sorted(seen.items()):
        walls = [wall for wall, _ in samples]
        least = min(walls)
        used = min(processor for _, processor in samples)
        print(
            f"  {action:16} {kind:12} {least:7.2f} s (median {statistics.median(walls):.2f})"
            f" {amount / least:9,.0f} /s {used:7.2f} s of processor"
        )
    sys.stdout.flush()
    shutil.rmtree(top)


def _measured(
    settings: Settings,
    width: int,
    make: Callable[[], Executor],
    action: str,
    request: dict[str, str],
) -> tuple[float, float]:
    """Seconds, and processor seconds of this process and those of its executor."""
    with make() as executor, InProcess(replace(settings, concurrency=width), executor) as site:
        list(executor.map(abs, range(width)))  # processes are there before it begins
        used, begun = _processor_seconds(), time.perf_counter()
        site.carry_out(action, request)
        wall = time.perf_counter() - begun
        executor.shutdown()  # only what has ended is counted
        return wall, _processor_seconds() - used


def _processor_seconds() -> float:
    total = 0.0
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        usage = resource.getrusage(who)
        total += usage.ru_utime + usage.ru_stime
    return total


def _settings(top: Path) -> Settings:
    for name, mode in (("staging", 0o1777), ("registry", 0o755)):
        (top / name).mkdir(parents=True)
        (top / name).chmod(mode)
    user = pwd.getpwuid(os.geteuid()).pw_name
    return Settings(
        str(top / "staging"),
        str(top / "registry"),
        frozenset([user]),
        durability=Durability.RELAXED,
    )


def _slow(top: Path, microseconds: int, files: int) -> None:
    library = top / "slow.so"
    command = ["cc", "-shared", "-fPIC", "-O2", "-o", str(library)]
    subprocess.run([*command, str(Path(__file__).parent / "slow.c"), "-ldl"], check=True)
    print(f"\n{microseconds} microseconds more for each call on a file, {files:,} files of 4 KiB")
    for in_each in (1000, 3):
        for width in WIDTHS:
            with _delayed(top / f"{in_each}-{width}", library, microseconds, width) as peer:
                project = peer.project()
                source = data.small_files(peer.staging / "s", files, 4096, in_each=in_each)
                begun = time.perf_counter()
                peer.upload(f"{project}/a/1", source)
                middle = time.perf_counter()
                peer.ask("validate_version", project=project, asset="a", version="1")
                end = time.perf_counter()
            print(
                f"  {in_each:5} in each directory, concurrency {width:3}:"
                f" upload {files / (middle - begun):6,.0f} files/s,"
                f" validate {files / (end - middle):6,.0f} files/s"
            )
            sys.stdout.flush()


@contextmanager
def _delayed(top: Path, library: Path, microseconds: int, width: int) -> Iterator[Peer]:
    settings = _settings(top)
    slow = {
        "LD_PRELOAD": str(library),
        "SLOW_BELOW": str(top),
        "SLOW_MICROSECONDS": str(microseconds),
    }
    os.environ.update(slow)
    arguments = (f"--concurrency={width}", "--durability=relaxed", "--jobs=0")
    try:
        service = TestService(settings.staging, settings.registry, extra_args=arguments)
    finally:
        for name in slow:
            del os.environ[name]
    try:
        yield Peer("slow", service.url, Path(settings.staging), Path(settings.registry))
    finally:
        service.stop()


if __name__ == "__main__":
    sys.exit(main())
