"""The HTTP workers of a service, as their supervisor starts, replaces and stops them.

The supervisor forks only while it has a single thread; see :mod:`gobbler.service.supervisor`.
"""

from __future__ import annotations

import logging
import multiprocessing
import multiprocessing.popen_spawn_posix  # so that a spawning thread need not import it
import os
import socket
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from gobbler.service.http_worker import WorkerTask, run_forked, run_spawned

KILL_AFTER = 10.0
"""Seconds after the grace period at which an HTTP worker that does not end is killed."""

REPLACE_PAUSE = 0.1
"""Seconds before a worker that died is replaced."""

logger = logging.getLogger(__name__)


class HttpWorkers:
    """One process for each of ``listeners`` that carries out ``task`` with it.

    ``running`` is the other end of the task's pipe.
    """

    def __init__(
        self, task: WorkerTask, running: Connection, listeners: Sequence[socket.socket]
    ) -> None:
        self._tasks = [task._replace(listener=listener) for listener in listeners]
        self._running = running
        self._processes: dict[int, BaseProcess] = {}
        self._read, self._write = os.pipe2(os.O_CLOEXEC)

    def fork(self) -> None:
        """Start all of them; in a process with a single thread."""
        context = multiprocessing.get_context("fork")
        for number, task in enumerate(self._tasks):
            process = context.Process(target=run_forked, args=(task, self._running), name="http")
            process.start()
            self._processes[number] = process

    def keep(self) -> None:
        """Replace those that die, until :meth:`end`; in the thread that called :meth:`fork`.

        Connections to the listener of one that died wait for its successor.
        """
        while True:
            missing = set(range(len(self._tasks))) - self._processes.keys()
            sentinels = {process.sentinel: n for n, process in self._processes.items()}
            ready = wait([self._read, *sentinels], REPLACE_PAUSE if missing else None)
            if self._read in ready:
                return
            for sentinel in ready:
                if isinstance(sentinel, int):
                    self._bury(self._processes.pop(sentinels[sentinel]))
            for number in missing:
                self._spawn(number)

    def end(self) -> None:
        """Let :meth:`keep` return; from any thread."""
        os.write(self._write, b"\0")

    def stop(self, patience: float) -> None:
        """Stop all of them, and kill those that take longer than ``patience`` seconds."""
        for process in self._processes.values():
            process.terminate()
        self._join(patience)
        for process in self._processes.values():
            logger.warning("killing HTTP worker %s, which does not stop", process.pid)
            process.kill()
        self._join(KILL_AFTER)

    def _spawn(self, number: int) -> None:
        process = multiprocessing.get_context("spawn").Process(
            target=run_spawned, args=(self._tasks[number],), name="http"
        )
        try:
            process.start()
        except OSError as error:
            logger.error("could not start an HTTP worker, and try again: %s", error)
            return
        self._processes[number] = process

    @staticmethod
    def _bury(process: BaseProcess) -> None:
        process.join()
        logger.error("an HTTP worker died (exit code %s); starting another one", process.exitcode)

    def _join(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        for number, process in tuple(self._processes.items()):
            process.join(max(0.0, deadline - time.monotonic()))
            if process.exitcode is not None:
                del self._processes[number]
