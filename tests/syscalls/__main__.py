"""``python -m tests.syscalls``: try every point of every operation, and print a table."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

from .accounts import why_no_accounts
from .disturbing import Outcome, Point
from .judging import COLUMNS
from .operations import OPERATIONS, Operation, make_template
from .points import faults, kills
from .tracing import why_not
from .trying import Bench
from .world import World

TELL_EVERY = 10.0
"""Seconds between two lines of progress."""


BENCHES = 2 * (os.cpu_count() or 1)
"""A service that starts waits more than it works."""


MOST_TOLD = 4
"""Findings to print for one point."""


def main() -> int:
    """Run as the command line says; the exit code."""
    options = _options()
    if problem := why_not():
        print(f"System calls can't be traced here: {problem}")
        return 2
    chosen = [op for op in OPERATIONS if not options.operation or op.name in options.operation]
    if problem := why_no_accounts():
        print(f"Without the operations that need another account: {problem}")
        chosen = [op for op in chosen if not op.foreign]
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    logging.disable(logging.CRITICAL)  # recovery logs a lot here
    memory = "/dev/shm"
    inside = memory if os.access(memory, os.W_OK) else None
    try:
        with tempfile.TemporaryDirectory(dir=inside, prefix="gobbler-syscalls-") as directory:
            os.chmod(directory, 0o755)  # as the directories of a registry are
            outcomes = _try_all(Path(directory), chosen, options)
    except KeyboardInterrupt:
        print("Interrupted; nothing is left running.")
        return 130
    return _report(chosen, outcomes)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.syscalls", description=__doc__)
    names = [operation.name for operation in OPERATIONS]
    parser.add_argument(
        "--operation", action="append", choices=names, help="only this one; may be repeated"
    )
    parser.add_argument("--step", type=int, default=1, help="every so many points")
    parser.add_argument("--first", type=int, default=0, help="points that are left out at first")
    parser.add_argument("--mode", choices=["kills", "faults"], help="only these")
    parser.add_argument(
        "--benches", type=int, default=BENCHES, help="services at a time (%(default)s)"
    )
    return parser.parse_args()


def _try_all(base: Path, operations: list[Operation], options: argparse.Namespace) -> list[Outcome]:
    template = World(base / "template")
    make_template(template, base / "archive")
    with ExitStack() as stack:
        benches = [Bench(base / f"bench{n}", template) for n in range(options.benches)]
        for bench in benches:
            stack.callback(bench.stop)
        points: list[Point] = []
        for operation in operations:
            study = benches[0].study(operation)
            for mode, found in (("kills", kills), ("faults", faults)):
                if options.mode in (None, mode):
                    points += islice(found(operation, study), options.first, None, options.step)
        print(f"{len(operations)} operations, {len(points)} points", flush=True)
        progress = _Progress(points)
        with ThreadPoolExecutor(len(benches)) as pool:
            running = [pool.submit(progress.work, bench) for bench in benches]
            try:
                for future in running:
                    future.result()
            finally:
                progress.stopped = True
        return progress.outcomes


class _Progress:
    """Hands out points to benches, and prints the progress."""

    def __init__(self, points: list[Point]) -> None:
        self._points: Iterator[Point] = iter(points)
        self._number = len(points)
        self._lock = threading.Lock()
        self._started = self._told = time.monotonic()
        self.outcomes: list[Outcome] = []
        self.stopped = False

    def work(self, bench: Bench) -> None:
        while not self.stopped:
            with self._lock:
                point = next(self._points, None)
            if point is None:
                return
            outcome = bench.attempt(point)
            with self._lock:
                self.outcomes.append(outcome)
                self._tell(outcome)

    def _tell(self, outcome: Outcome) -> None:
        point = outcome.point
        how = point.error or "killed"
        if not outcome.hit:
            print(f"{point.operation.name}, {how}: not reached: {point.call.told[:160]}")
        if outcome.findings:
            print(f"{point.operation.name}, {how} at {outcome.hit[:200]}")
        for column, told in outcome.findings[:MOST_TOLD]:
            print(f"    {column}: {told[:400]}")
        now = time.monotonic()
        if now - self._told > TELL_EVERY:
            self._told = now
            done = len(self.outcomes)
            left = (self._number - done) * (now - self._started) / done
            print(f"  {point.operation.name}: {done} of {self._number}, {left:.0f} s to go")
        sys.stdout.flush()


def _report(operations: list[Operation], outcomes: list[Outcome]) -> int:
    print(f"\n{'operation':22}{'kills':>7}{'faults':>7}" + "".join(f"{c:>8}" for c in COLUMNS))
    bad = 0
    for operation in operations:
        hit = [o for o in outcomes if o.point.operation is operation and o.hit]
        # A point counts once in a column, whatever the number of files.
        counts = Counter(c for o in hit for c in {finding.column for finding in o.findings})
        failed = sum(bool(outcome.point.error) for outcome in hit)
        row = f"{operation.name:22}{len(hit) - failed:7}{failed:7}"
        print(row + "".join(f"{counts[column]:8}" for column in COLUMNS))
        bad += sum(counts.values())
    for column, words in COLUMNS.items():
        print(f"  {column}: {words}")
    missed = sum(not outcome.hit for outcome in outcomes)
    if missed:
        print(f"{missed} points were not reached: the operation was shorter than its rehearsal.")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
