"""What it costs to resume an upload whose worker was killed, compared with uploading it anew.

::

    python -m bench.resume                      # 2 GiB in one file, and 10,000 small files
    python -m bench.resume --scale 0.1 --runs 5

Each run starts a worker of its own, and counts until it has answered the job: seconds, processor
seconds, and the bytes that it has read and written by calls (``/proc/PID/io``). Runs of both kinds
take turns; the smallest figures count.
"""

from __future__ import annotations

import argparse
import getpass
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import data
from bench.cases.base import numbers
from bench.measuring import processor_seconds

LOOK_SECONDS = 0.002


@dataclass
class Load:
    """A source, and how much of it must be there when the worker is killed."""

    title: str
    source: Path
    fraction: float
    amount: int
    copied: Callable[[Path], int]


@dataclass
class Cost:
    """What a worker has cost until it answered."""

    wall: float
    processor: float
    read: int
    written: int


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.resume", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--scale", type=float, default=1.0, help="fraction of the data (1)")
    parser.add_argument("--runs", type=int, default=3, help="runs of each kind (3)")
    parser.add_argument("--directory", help="where staging and registry are made")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.directory, prefix="gobbler-resume-") as name:
        top = Path(name)
        top.chmod(0o755)
        place = _Place(top)
        print("| | | seconds | processor | MB read | MB written |")
        print("| --- | --- | ---: | ---: | ---: | ---: |")
        for load in _loads(place, given.scale):
            anew, resumed = [], []
            for _ in range(given.runs):
                anew.append(place.anew(load))
                resumed.append(place.resumed(load))
            shutil.rmtree(load.source)
            _show(load.title, "anew", anew)
            _show("", f"killed at {load.fraction:.0%}, resumed", resumed)
    return 0


def _show(title: str, kind: str, costs: list[Cost]) -> None:
    wall = min(cost.wall for cost in costs)
    processor = min(cost.processor for cost in costs)
    read = min(cost.read for cost in costs) / 1e6
    written = min(cost.written for cost in costs) / 1e6
    row = f"| {title} | {kind} | {wall:.2f} | {processor:.2f} | {read:.0f} | {written:.0f} |"
    print(row, flush=True)


def _loads(place: _Place, scale: float) -> Iterator[Load]:
    size = max(64, int(2048 * scale)) << 20
    source = data.one_file(place.staging / "large", size)
    yield Load(f"one file of {size >> 20} MiB", source, 0.6, size, _bytes_of_file)
    files = max(1000, int(10_000 * scale))
    source = data.small_files(place.staging / "small", files, 1000)
    yield Load(f"{files:,} files of 1000 bytes", source, 0.9, files, _noted_files)


def _bytes_of_file(incoming: Path) -> int:
    return max((path.stat().st_size for path in incoming.glob("*-task/*/tree/file")), default=0)


def _noted_files(incoming: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in incoming.glob("*-task/*/taken"))


class _Place:
    """Staging, a registry, and workers that are started there."""

    def __init__(self, top: Path) -> None:
        self.staging, self.registry = top / "staging", top / "registry"
        self.staging.mkdir(mode=0o1777)
        self.staging.chmod(0o1777)
        self.registry.mkdir()
        with self._worker():
            self._answer(self._submit("create_project", {"project": "p"}))

    @contextmanager
    def _worker(self) -> Iterator[subprocess.Popen[bytes]]:
        command = [sys.executable, "-m", "gobbler", "worker", f"--staging={self.staging}"]
        command += [f"--registry={self.registry}", f"--admin={getpass.getuser()}"]
        worker = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            while not (self.staging / "..spool/new").exists():
                time.sleep(LOOK_SECONDS)
            yield worker
        finally:
            worker.kill()
            worker.wait()

    def _submit(self, action: str, payload: object) -> str:
        name = f"request-{action}-{os.getpid()}-{next(numbers)}"
        draft = self.staging / "..spool/tmp" / name
        draft.write_text(json.dumps(payload))
        draft.rename(self.staging / "..spool/new" / name)
        return f"{os.getuid()}-{name}"

    def _upload(self, load: Load) -> str:
        version = str(next(numbers))
        payload = {"project": "p", "asset": load.source.name, "version": version}
        return self._submit("upload", {**payload, "source": load.source.name})

    def _answer(self, job: str) -> None:
        path = self.staging / f"..spool/cur/{job}.answer"
        while not path.exists():
            time.sleep(LOOK_SECONDS)
        answer = json.loads(path.read_text())
        if answer["status"] != "SUCCESS":
            raise SystemExit(f"the job failed: {answer}")

    def _cost_of(self, job: str) -> Cost:
        begun = time.perf_counter()
        with self._worker() as worker:
            self._answer(job)
            wall = time.perf_counter() - begun
            lines = Path(f"/proc/{worker.pid}/io").read_text().splitlines()
            counts = {name: int(count) for name, count in (line.split(": ") for line in lines)}
            used = processor_seconds(worker.pid)
        shutil.rmtree(self.registry / "p")  # a version that holds the content would be linked to
        with self._worker():
            self._answer(self._submit("create_project", {"project": "p"}))
        return Cost(wall, used, counts["rchar"], counts["wchar"])

    def anew(self, load: Load) -> Cost:
        """Upload it."""
        return self._cost_of(self._upload(load))

    def resumed(self, load: Load) -> Cost:
        """Upload it after a worker was killed."""
        job = self._upload(load)
        with self._worker():
            while load.copied(self.registry / "..incoming") < load.fraction * load.amount:
                time.sleep(LOOK_SECONDS)
        return self._cost_of(job)


if __name__ == "__main__":
    sys.exit(main())
