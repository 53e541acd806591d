"""A Dask scheduler and its workers, each in a process of its own, and what befalls them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from gobbler.client.testing import HOST, ReservedPort

from .processes import PATIENCE, identity, interpreter, wait_for

WORKER_TTL = "2s"
"""After so long without a sign of life the scheduler takes a worker to be dead."""

NEVER = "1h"


class DaskCluster:
    """A scheduler at ``address``; it and its workers are killed at the end of the block."""

    def __init__(self, top: Path, worker_ttl: str = WORKER_TTL) -> None:
        pytest.importorskip("distributed")
        self._top = top
        self._worker_ttl = worker_ttl
        (top / "dask").mkdir()
        (top / "dask").chmod(0o1777)
        self._port = ReservedPort()
        self.address = f"tcp://{HOST}:{self._port.number}"
        self.workers: list[subprocess.Popen[bytes]] = []
        self._logs: list[Path] = []
        self.scheduler = self._start(
            "dask_scheduler", f"--host={HOST}", f"--port={self._port.number}", "--no-dashboard"
        )
        wait_for(f"a scheduler: {self.output()}", lambda: "Scheduler at:" in self.output())

    def _start(
        self, module: str, *arguments: str, user: str | None = None, **more: str
    ) -> subprocess.Popen[bytes]:
        python, environment = interpreter(user)
        environment = {
            **environment,
            "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": self._worker_ttl,
            "DASK_TEMPORARY_DIRECTORY": str(self._top / "dask"),
            **more,
        }
        log = self._top / f"dask-{len(self._logs)}.log"
        self._logs.append(log)
        with log.open("wb") as output:
            return subprocess.Popen(
                [python, "-m", f"distributed.cli.{module}", *arguments],
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd="/",
                **identity(user),
            )

    def start_workers(self, count: int, user: str | None = None, umask: str = "") -> None:
        """Start this number of workers of one thread, and wait until the scheduler has them."""
        begun = len(self.workers)
        with contextlib.ExitStack() as stack:
            if umask:
                stack.callback(os.umask, os.umask(int(umask, 8)))
            for _ in range(count):
                number = len(self.workers)
                directory = self._top / f"dask-worker-{number}"
                directory.mkdir()
                directory.chmod(0o777)
                worker = self._start(
                    "dask_worker",
                    self.address,
                    "--host=127.0.0.1",
                    "--nthreads=1",
                    "--no-nanny",
                    "--no-dashboard",
                    "--memory-limit=0",
                    "--death-timeout=20",
                    f"--name={number}",
                    f"--local-directory={directory}",
                    user=user,
                )
                self.workers.append(worker)
        wait_for(
            f"{count} workers: {self.output()}",
            lambda: self._logs[0].read_text().count("Register worker") >= begun + count,
        )

    def output(self) -> str:
        return "\n".join(log.read_text() for log in self._logs)

    def stop_one_at_work(
        self, is_at_work: Callable[[int], bool], besides: int = 0
    ) -> subprocess.Popen[bytes]:
        """Stop (``SIGSTOP``) a worker in the midst of a batch, as soon as there is one."""

        def stopped() -> subprocess.Popen[bytes] | None:
            for worker in self.workers:
                if worker.pid != besides and is_at_work(worker.pid):
                    worker.send_signal(signal.SIGSTOP)
                    if is_at_work(worker.pid):
                        return worker
                    worker.send_signal(signal.SIGCONT)
            return None

        found = wait_for("a worker in the midst of a batch", stopped)
        assert found is not None
        return found

    def __enter__(self) -> DaskCluster:
        return self

    def __exit__(self, *exception: object) -> None:
        for process in (*self.workers, self.scheduler):
            if process.poll() is None:
                process.kill()
            process.wait(PATIENCE)
        self._port.release()


def makes_files_below(directory: Path) -> Callable[[int], bool]:
    """Whether a process is in the midst of a batch that makes files below ``directory``."""

    def is_at_work(process: int) -> bool:
        with contextlib.suppress(OSError):
            for name in os.listdir(f"/proc/{process}/fd"):
                with contextlib.suppress(OSError):
                    path = os.readlink(f"/proc/{process}/fd/{name}")
                    if path.startswith(f"{directory}/..incoming/") and "/apart-" in path:
                        return True
        return False

    return is_at_work
