"""The processes of a service: a supervisor, HTTP workers, and a worker process for jobs.

The supervisor recovers what a crash left behind, starts the other processes, replaces those
that die, and stops them: it waits for running requests to finish, then cancels them, then
kills. If the supervisor itself is killed, the kernel kills the others with it.

The supervisor forks only while it has a single thread: a lock that another thread holds at that
moment would stay locked in the child for ever. So it forks the first HTTP workers before it
starts any thread. Every later process is spawned, that is, it executes a new interpreter.
"""

from __future__ import annotations

import dataclasses
import logging
import logging.config
import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from gobbler import __version__
from gobbler.cluster.dask import check_cluster
from gobbler.service.cleanup import recover_after_crash, start_background_tasks
from gobbler.service.connections import limit
from gobbler.service.http.connection import STALLED_AFTER
from gobbler.service.http_worker import WorkerTask
from gobbler.service.http_workers import KILL_AFTER, HttpWorkers
from gobbler.service.listener import inherited_socket, listen
from gobbler.service.log_format import LogFormat, log_config
from gobbler.service.metrics.metrics import Metrics
from gobbler.service.port_guard import alone_at, check_address, in_use
from gobbler.service.settings import (
    Settings,
    check_accounts,
    check_directories,
    check_index,
    warn_about_root,
)
from gobbler.service.stop_signals import StopSignals, ignores_hangup
from gobbler.service.worker_process import WorkerProcess, allow_many_files

LINGER = 0.5
"""Seconds in which a request may come over a connection that was accepted before the stop."""

DRAIN_POLL = 0.02
"""Seconds between two looks at what a stopping service still answers."""

SPARE_ROWS = 8
"""Processes that count beside the HTTP workers: supervisor, job worker, successors."""

logger = logging.getLogger(__name__)


def serve(
    settings: Settings,
    form: LogFormat,
    *,
    debug: bool,
    on_start: Callable[[], None] = lambda: None,
) -> None:
    """Run the service until SIGTERM or SIGINT; ``on_start`` is called once it has started.

    Raises :class:`~gobbler.errors.Misconfigured` if it can't start.
    """
    os.umask(0o022)
    config = log_config(form, debug=debug)
    logging.config.dictConfig(config)
    warn_about_root()
    check_directories(settings)
    check_index(settings)
    inherited = inherited_socket()
    if inherited is not None:
        host, port = inherited.getsockname()[:2]
        settings = dataclasses.replace(settings, host=host, port=port)
    with alone_at(settings.host, settings.port) as alone:
        if not alone:
            raise in_use(settings.host, settings.port)
        if inherited is None:
            check_address(settings.host, settings.port)
        if settings.dask:
            check_cluster(settings.dask)
        allow_many_files()
        recover_after_crash(settings)
        if inherited is None:
            listeners = [listen(settings.host, settings.port) for _ in range(settings.workers)]
        else:
            listeners = [inherited] * settings.workers
        outlives = inherited is not None
        supervisor = Supervisor(settings, form, config, listeners, debug=debug, outlives=outlives)
        supervisor.run(on_start)
    logger.info("stopped")


class Supervisor:
    """Runs the processes of one service, and stops them on SIGTERM, SIGINT or SIGHUP."""

    def __init__(
        self,
        settings: Settings,
        form: LogFormat,
        config: dict[str, Any],
        listeners: list[socket.socket],
        *,
        debug: bool,
        outlives: bool,
    ) -> None:
        for listener in listeners:
            limit(listener, STALLED_AFTER)
        self._settings = settings
        self._outlives = outlives
        self._metrics = Metrics(settings.workers + SPARE_ROWS)
        self._signals: StopSignals
        # HTTP workers learn from the end of this pipe that the service stops. It also closes if
        # the supervisor dies.
        stopping, self._running = multiprocessing.Pipe(duplex=False)
        self._jobs = WorkerProcess(settings, form, self._metrics, debug=debug)
        task = WorkerTask(
            settings, self._metrics, listeners[0], outlives, stopping, os.getpid(), config
        )
        self._http = HttpWorkers(task, self._running, listeners)

    def run(self, on_start: Callable[[], None]) -> None:
        """Serve until a signal, then stop all processes; ``on_start`` is called in between."""
        ignores = ignores_hangup()
        self._signals = StopSignals(ignores_hangup=ignores)
        try:
            self._http.fork()
            self._start_others(on_start)
            self._http.keep()
            self._http.stop(int(self._settings.grace) + KILL_AFTER)
        finally:
            self._jobs.stop()
            self._jobs.wait()

    def _stop(self, number: signal.Signals) -> None:
        self._running.close()
        logger.info("%s: stopping", number.name)
        self._jobs.stop()
        self._close_when_idle()

    def _close_when_idle(self) -> None:
        """Stop the HTTP workers once nothing is answered any more, or the grace period is over."""
        deadline = time.monotonic() + self._settings.grace
        if self._outlives:
            time.sleep(LINGER)
        while self._metrics.http_in_flight() and time.monotonic() < deadline:
            time.sleep(DRAIN_POLL)
        self._http.end()

    def _start_others(self, on_start: Callable[[], None]) -> None:
        """Start threads and the worker process, now that all HTTP workers are forked."""
        self._metrics.join()
        is_stopped = self._signals.has_arrived()
        self._signals.on_first(self._stop)
        if is_stopped:
            return
        settings = self._settings
        # A directory server may take long, and nobody waits for what is only a warning.
        threading.Thread(
            target=check_accounts, args=[settings], name="accounts", daemon=True
        ).start()
        start_background_tasks(settings, self._metrics)
        if settings.jobs:
            self._jobs.start()
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
