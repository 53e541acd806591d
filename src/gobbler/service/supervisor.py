"""The processes of a service: a supervisor, HTTP workers, and a worker process for jobs.

The supervisor recovers what a crash left behind, starts the other processes, replaces those
that die, and stops them: it waits for running requests to finish, then cancels them, then
kills. If the supervisor itself is killed, the kernel kills the others with it.

The supervisor forks only while it has a single thread: a lock that another thread holds at that
moment would stay locked in the child for ever. So it forks the first HTTP workers before it
starts any thread. Every later process is spawned, that is, it executes a new interpreter.
"""

from __future__ import annotations

import logging
import logging.config
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.mp import MPServer
from granian.server.mp import WorkerProcess as HttpWorker

from gobbler import __version__
from gobbler.cluster.dask import check_cluster
from gobbler.service.app import Application
from gobbler.service.cleanup import recover_after_crash, start_background_tasks
from gobbler.service.connections import limit_listener
from gobbler.service.log_format import LogFormat, log_config
from gobbler.service.port_guard import alone_at, check_address, in_use
from gobbler.service.settings import Settings, check_directories, check_index
from gobbler.service.transfers import STALLED_AFTER
from gobbler.service.worker_process import WorkerProcess, allow_many_files, die_with

HEADER_TIMEOUT = 10_000
"""Milliseconds in which a client must have sent its headers."""

BUFFER_SIZE = 64 * 1024
"""Bytes of one connection that the server buffers; also the largest size of the headers."""

LISTEN_BACKLOG = 4096
"""Connections that wait to be accepted."""

MAX_CONNECTIONS = 16_384
"""Connections that an HTTP worker keeps open; idle ones must not keep others out."""

HTTP_KILL_AFTER = 10
"""Seconds after the grace period at which an HTTP worker that does not end is killed."""

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
    check_directories(settings)
    check_index(settings)
    with alone_at(settings.host, settings.port) as alone:
        if not alone:
            raise in_use(settings.host, settings.port)
        check_address(settings.host, settings.port)
        if settings.dask:
            check_cluster(settings.dask)
        allow_many_files()
        recover_after_crash(settings)
        Supervisor(settings, form, config, debug=debug, on_start=on_start).run()
    logger.info("stopped")


class _HttpServer(MPServer):
    """Granian's own supervision of HTTP workers, which here forks in a single thread only."""

    on_forked: Callable[[], None]
    later_loader: Callable[[], Application]

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

    def _respawn_workers(
        self,
        workers: Sequence[int],
        spawn_target: Any,  # noqa: ANN401 - Granian's
        target_loader: Any,  # noqa: ANN401 - Granian's
        delay: float = 0,
    ) -> None:
        del target_loader
        super()._respawn_workers(workers, spawn_target, self.later_loader, delay)


class Supervisor:
    """Runs the processes of one service, and stops them on a signal."""

    def __init__(
        self,
        settings: Settings,
        form: LogFormat,
        config: dict[str, Any],
        *,
        debug: bool,
        on_start: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._on_start = on_start
        self._pid = os.getpid()
        # HTTP workers learn from the end of this pipe that the service stops. A signal handler
        # can close it, where it could not take a lock, and it closes if the supervisor dies.
        stopping, self._running = multiprocessing.Pipe(duplex=False)
        self._jobs = WorkerProcess(settings, form, debug=debug)
        self._has_threads = False
        load = partial(_load, settings, stopping, supervisor=self._pid)
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
            log_level=LogLevels.debug if debug else LogLevels.warning,
        )
        self._http.on_startup(self._handle_signals)
        self._http.on_forked = self._start_others
        self._http.later_loader = load
        self._first_loader = partial(load, inherited=self._running)

    def run(self) -> None:
        """Serve until a signal, then stop all processes."""
        try:
            self._http.serve(target_loader=self._first_loader, wrap_loader=False)
        finally:
            self._jobs.stop()
            self._jobs.wait()

    def _handle_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: object) -> None:
        del frame
        if os.getpid() != self._pid:
            os._exit(0)  # an HTTP worker that has just been forked, and serves nobody yet
        if self._running.closed:
            return
        self._running.close()
        logger.info("%s: stopping", signal.Signals(number).name)
        self._http.interrupt_signal = True
        if self._has_threads:
            # These take locks that the interrupted thread may hold.
            for target in (self._jobs.stop, self._http.main_loop_interrupt.set):
                threading.Thread(target=target, name="stop").start()

    def _wake_on_signals(self) -> None:
        """Let a signal wake the main thread, also one that arrives right before it waits.

        The handler of a signal runs in the main thread, between two instructions of Python. If
        the signal arrives after the last of these and before the thread sleeps in a lock, the
        handler would run only when something else wakes the thread.
        """
        read, write = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(write, False)
        signal.set_wakeup_fd(write)
        stop = {signal.SIGTERM, signal.SIGINT}

        def wake() -> None:
            while os.read(read, 1)[0] not in stop:
                continue
            self._http.main_loop_interrupt.set()

        threading.Thread(target=wake, name="signals", daemon=True).start()

    def _start_others(self) -> None:
        """Start threads and the worker process, now that all HTTP workers are forked."""
        self._has_threads = True
        self._wake_on_signals()
        if self._http.interrupt_signal:
            self._http.main_loop_interrupt.set()
            return
        settings = self._settings
        start_background_tasks(settings)
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
    *,
    supervisor: int,
    inherited: Connection | None = None,
) -> Application:
    """Make the application in an HTTP worker.

    ``inherited`` is the supervisor's end of the pipe ``stopping``, if this process was forked.
    """
    if inherited is not None:
        inherited.close()
    die_with(supervisor)
    os.umask(0o022)
    application = Application(settings)
    threading.Thread(
        target=limit_listener, args=(settings.port, STALLED_AFTER), name="limits", daemon=True
    ).start()
    threading.Thread(
        target=_cancel_in_time,
        args=(application, stopping, settings.grace),
        name="grace",
        daemon=True,
    ).start()
    return application


def _cancel_in_time(application: Application, stopping: Connection, grace: float) -> None:
    stopping.poll(None)
    application.jobs.end_streams()
    time.sleep(grace)
    application.new.cancel_all("the service is stopping")
