"""The processes of a service: a supervisor, HTTP workers, and a worker process for the rest.

The supervisor recovers what a crash left behind, forks the other processes, replaces those that
die, and stops them: it waits for running requests to finish, then cancels them, then kills. If the
supervisor itself is killed, the kernel kills the others with it.

It has a single thread and does nothing else, so it can fork at any time: no lock is held that a
child would inherit. What it has loaded and never changes is in memory once, for all processes.
"""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing.connection import wait

from gobbler import __version__
from gobbler.fs.memory import limit_arenas
from gobbler.service.child_process import ChildProcess, wait_for
from gobbler.service.cleanup import recover_changes
from gobbler.service.http_worker import HTTP_KILL_AFTER, HttpWorkers
from gobbler.service.metrics.metrics import Metrics
from gobbler.service.settings import Settings
from gobbler.service.stop_signals import StopSignals, ignores_hangup
from gobbler.service.worker_process import JOBS_KILL_AFTER, run_below

LINGER = 0.5
"""Seconds in which a request may come over a connection that was accepted before the stop."""

DRAIN_POLL = 0.02
"""Seconds between two looks at what a stopping service still answers."""

SPARE_ROWS = 8
"""Processes that count beside the HTTP workers: supervisor, worker process, successors."""

logger = logging.getLogger(__name__)


class Supervisor:
    """Runs the processes of one service, and stops them on SIGTERM, SIGINT or SIGHUP.

    All HTTP workers accept from ``listener``, which is ``outlived`` by a socket of systemd: who
    connects while the service stops waits for the next one.
    """

    def __init__(self, settings: Settings, listener: socket.socket, *, outlived: bool) -> None:
        self._settings = settings
        self._listener = listener
        self._outlived = outlived
        self._metrics = Metrics(settings.workers + SPARE_ROWS)
        # HTTP workers learn from the end of this pipe that the service stops.
        stopping, self._running = multiprocessing.Pipe(duplex=False)
        workers = HttpWorkers(
            settings, self._metrics, listener, (stopping, self._running), outlived=outlived
        )
        self._http = [
            ChildProcess(f"HTTP worker {number}", partial(workers.new, number), replaced_for=5)
            for number in range(1, settings.workers + 1)
        ]
        self._worker = ChildProcess("the worker process", self._new_worker)

    def _new_worker(self) -> multiprocessing.process.BaseProcess:
        return multiprocessing.get_context("fork").Process(
            target=run_below,
            args=(
                self._settings,
                self._metrics,
                os.getpid(),
                (self._running, self._listener),
            ),
            name="gobbler worker",
        )

    def run(self, on_start: Callable[[], None]) -> None:
        """Serve until a signal, then stop all processes.

        Raises :class:`~gobbler.errors.Fault` if an HTTP worker dies again and again.
        """
        recover_changes(self._settings)
        self._metrics.join()
        limit_arenas()
        # What is loaded by now lives on: no collection has to look at it, or write to its pages.
        gc.freeze()
        gc.enable()
        signals = StopSignals(ignores_hangup=ignores_hangup())
        try:
            self._start(on_start)
            number = self._keep(signals)
            logger.info("%s: stopping", number.name)
        finally:
            self._stop()
            signals.close()

    def _start(self, on_start: Callable[[], None]) -> None:
        settings = self._settings
        for child in (*self._http, self._worker):
            child.start()
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        logger.info(
            "gobbler %s serves the registry %s with staging %s at http://%s:%d%s",
            __version__,
            settings.registry,
            settings.staging,
            host,
            settings.port,
            settings.prefix,
        )
        on_start()

    def _keep(self, signals: StopSignals) -> signal.Signals:
        """Replace processes that die, until a signal arrives."""
        children = (*self._http, self._worker)
        while (number := signals.first()) is None:
            now = time.monotonic()
            for child in children:
                child.keep(now)
            due = min(child.due for child in children)
            sentinels = [child.sentinel for child in children if child.sentinel is not None]
            left = None if due == float("inf") else max(0.0, due - time.monotonic())
            wait([signals.descriptor, *sentinels], left)
        return number

    def _stop(self) -> None:
        """Let running requests finish within the grace period, then end all processes."""
        begun = time.monotonic()
        grace = self._settings.grace
        self._running.close()
        self._worker.terminate()
        if self._outlived:
            time.sleep(LINGER)
        while self._metrics.http_in_flight() and time.monotonic() < begun + grace:
            time.sleep(DRAIN_POLL)
        for child in self._http:
            child.terminate()
        _end(self._http, time.monotonic() + int(grace) + HTTP_KILL_AFTER)
        self._listener.close()  # who comes now is refused at once
        _end([self._worker], begun + grace + JOBS_KILL_AFTER)


def _end(children: Sequence[ChildProcess], deadline: float) -> None:
    """Wait until these processes have ended; kill those that have not at ``deadline``."""
    for child in wait_for(children, deadline):
        logger.warning("killing %s, which does not stop", child.name)
        child.kill()
    wait_for(children, time.monotonic() + HTTP_KILL_AFTER)
