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
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing.connection import Connection, wait
from typing import Any

from granian._granian import SocketHolder
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.mp import MPServer
from granian.server.mp import WorkerProcess as HttpWorker

from gobbler import __version__
from gobbler.cluster.dask import check_cluster
from gobbler.fs.parent_process import die_with
from gobbler.service.app import Application
from gobbler.service.cleanup import recover_after_crash, start_background_tasks
from gobbler.service.connections import break_off_all, limit_listener, port_of
from gobbler.service.listener import inherited_socket, stop_accepting
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
from gobbler.service.transfers import STALLED_AFTER
from gobbler.service.worker_process import WorkerProcess, allow_many_files

HEADER_TIMEOUT = 10_000
"""Milliseconds in which a client must have sent its headers."""

BUFFER_SIZE = 64 * 1024
"""Bytes of one connection that the server buffers; also the largest size of the headers."""

LISTEN_BACKLOG = 4096
"""Connections that wait to be accepted."""

MAX_CONNECTIONS = 16_384
"""Connections that an HTTP worker keeps open; idle ones must not keep others out."""

SWITCH_INTERVAL = 0.001
"""Seconds after which a thread of an HTTP worker lets another one run."""

ANSWERED_WITHIN = 5.0
"""Seconds after the grace period in which requests that were cancelled are answered."""

HTTP_KILL_AFTER = 10
"""Seconds after the grace period at which an HTTP worker that does not end is killed."""

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
        Supervisor(settings, form, config, debug=debug, on_start=on_start, listener=inherited).run()
    logger.info("stopped")


class _HttpServer(MPServer):
    """Granian's own supervision of HTTP workers, which here forks in a single thread only."""

    on_forked: Callable[[], None]
    later_loader: Callable[[], Application]
    listener: socket.socket | None

    def _init_shared_socket(self) -> None:
        if self.listener is None:
            super()._init_shared_socket()  # type: ignore[no-untyped-call]  # it has no types
            return
        # All workers accept from this one socket; spawned ones get its descriptor with it.
        holder: Any = SocketHolder
        self._shd = holder(self.listener.fileno(), False, LISTEN_BACKLOG)  # not a Unix socket
        self._sso = self.listener

    def _spawn_workers(self, spawn_target: Any, target_loader: Any) -> None:  # noqa: ANN401 - Granian's
        workers: list[HttpWorker] = [
            self._spawn_worker(idx=index, target=spawn_target, callback_loader=target_loader)
            for index in range(self.workers)
        ]
        for worker in workers:
            worker.inner.start()
        multiprocessing.set_start_method("spawn", force=True)
        for worker in workers:
            worker._watch()  # type: ignore[no-untyped-call]  # it has no types; starts a thread
        self.wrks.extend(workers)
        self._metrics.incr_spawn(self.workers)
        self.on_forked()

    def _stop_workers(self) -> None:
        """Stop all workers, and kill those that do not end in time.

        Granian's own way asks whether a process lives while another thread reaps it, and then
        reports that it killed a worker which has ended.
        """
        for worker in self.wrks:
            worker.interrupt_by_parent = True
            worker.inner.terminate()
        living = {worker.inner.sentinel: worker for worker in self.wrks}
        _wait_for(living, self.workers_kill_timeout or 0)
        for worker in living.values():
            logger.warning("killing HTTP worker %d, which does not stop", worker.idx + 1)
            worker.inner.kill()
        _wait_for(living, HTTP_KILL_AFTER)
        self.wrks.clear()

    def _respawn_workers(
        self,
        workers: Sequence[int],
        spawn_target: Any,  # noqa: ANN401 - Granian's
        target_loader: Any,  # noqa: ANN401 - Granian's
        delay: float = 0,
    ) -> None:
        del target_loader
        super()._respawn_workers(workers, spawn_target, self.later_loader, delay)
        if self.interrupt_signal:
            # Granian's loop cleared this event before it came here, perhaps after it was set.
            self.main_loop_interrupt.set()


def _wait_for(living: dict[int, HttpWorker], seconds: float) -> None:
    """Wait until these workers have ended; those that have not after ``seconds`` are left."""
    deadline = time.monotonic() + seconds
    while living and (left := deadline - time.monotonic()) > 0:
        for ended in wait(list(living), left):
            if isinstance(ended, int):
                del living[ended]


class Supervisor:
    """Runs the processes of one service, and stops them on SIGTERM, SIGINT or SIGHUP."""

    def __init__(
        self,
        settings: Settings,
        form: LogFormat,
        config: dict[str, Any],
        *,
        debug: bool,
        on_start: Callable[[], None],
        listener: socket.socket | None = None,
    ) -> None:
        self._settings = settings
        self._listener = listener
        self._metrics = Metrics(settings.workers + SPARE_ROWS)
        self._on_start = on_start
        self._signals: StopSignals
        self._ignores_hangup = ignores_hangup()
        # HTTP workers learn from the end of this pipe that the service stops. It also closes if
        # the supervisor dies.
        stopping, self._running = multiprocessing.Pipe(duplex=False)
        self._jobs = WorkerProcess(settings, form, self._metrics, debug=debug)
        descriptor = None if listener is None else listener.fileno()
        load = partial(_load, settings, stopping, self._metrics, descriptor, supervisor=os.getpid())
        multiprocessing.set_start_method("fork", force=True)
        self._http = _HttpServer(
            "gobbler",
            address=settings.host,
            port=settings.port,
            interface=Interfaces.ASGI,
            http=HTTPModes.http1,
            http1_settings=HTTP1Settings(
                header_read_timeout=HEADER_TIMEOUT, max_buffer_size=BUFFER_SIZE
            ),
            websockets=False,
            workers=settings.workers,
            backlog=LISTEN_BACKLOG,
            backpressure=MAX_CONNECTIONS,
            workers_kill_timeout=int(settings.grace) + HTTP_KILL_AFTER,
            respawn_failed_workers=True,
            respawn_interval=0.1,
            log_dictconfig=config,
            log_level=LogLevels.debug if debug else LogLevels.error,
        )
        self._http.on_startup(self._take_signals)
        self._http.on_forked = self._start_others
        self._http.listener = listener
        self._http.later_loader = load
        self._first_loader = partial(load, inherited=self._running)

    def run(self) -> None:
        """Serve until a signal, then stop all processes."""
        try:
            self._http.serve(target_loader=self._first_loader, wrap_loader=False)
        finally:
            self._jobs.stop()
            self._jobs.wait()

    def _take_signals(self) -> None:
        """Take the signals from the HTTP server, which would act on them in the main thread."""
        self._signals = StopSignals(ignores_hangup=self._ignores_hangup)
        if self._ignores_hangup:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def _stop(self, number: signal.Signals) -> None:
        self._running.close()
        logger.info("%s: stopping", number.name)
        self._jobs.stop()
        self._close_when_idle()

    def _close_when_idle(self) -> None:
        """Stop the HTTP workers once nothing is answered any more, or the grace period is over."""
        deadline = time.monotonic() + self._settings.grace
        if self._listener is not None:
            time.sleep(LINGER)
        while self._metrics.http_in_flight() and time.monotonic() < deadline:
            time.sleep(DRAIN_POLL)
        self._http.interrupt_signal = True
        self._http.main_loop_interrupt.set()

    def _start_others(self) -> None:
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
        self._on_start()


def _load(
    settings: Settings,
    stopping: Connection,
    metrics: Metrics,
    listener: int | None,
    *,
    supervisor: int,
    inherited: Connection | None = None,
) -> Application:
    """Make the application in an HTTP worker.

    ``listener`` is the descriptor of a socket of systemd, if there is one.
    ``inherited`` is the supervisor's end of the pipe ``stopping``, if this process was forked.
    """
    # Ctrl-C in a terminal reaches all processes: the supervisor stops this one in time. Threads
    # that are made from now on inherit the mask.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    if inherited is not None:
        inherited.close()
    die_with(supervisor)
    # A terminal that is closed sends it to all processes: the supervisor stops this one in time.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.umask(0o022)
    metrics.join()
    # A thread that walks a large tree must not keep the event loop waiting for long.
    sys.setswitchinterval(SWITCH_INTERVAL)
    application = Application(settings, metrics)
    port = settings.port if listener is None else port_of(listener)
    threading.Thread(
        target=limit_listener, args=(port, STALLED_AFTER), name="limits", daemon=True
    ).start()
    threading.Thread(
        target=_stop_in_time,
        args=(application, stopping, listener, port, settings.grace),
        name="grace",
        daemon=True,
    ).start()
    return application


def _stop_in_time(
    application: Application,
    stopping: Connection,
    listener: int | None,
    port: int,
    grace: float,
) -> None:
    """Take no more requests when the service stops, and cancel those that take too long.

    Who connects to a socket of systemd waits for the next service; others get 503.
    """
    stopping.poll(None)
    if listener is not None:
        stop_accepting(listener)
    application.stop(refusing=listener is None)
    time.sleep(grace)
    application.new.cancel_all("the service is stopping")
    time.sleep(ANSWERED_WITHIN)
    break_off_all(port)  # the server would wait for clients that read nothing
