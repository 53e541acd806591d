"""The processes of a service: a supervisor, and HTTP workers below it.

The supervisor recovers what a crash left, starts the workers anew when one dies, and
stops them: first it lets running requests finish, then it has them given up, then it
kills. Should the supervisor itself be killed, the kernel kills the workers with it.
"""

from __future__ import annotations

import logging
import logging.config
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels

from gobbler import __version__
from gobbler.cluster.dask import check_cluster
from gobbler.service.app import Application
from gobbler.service.cleanup import start_upkeep, sweep
from gobbler.service.log_format import LogFormat, log_config
from gobbler.service.port_guard import alone_at, check_address, in_use
from gobbler.service.settings import (
    Settings,
    check_directories,
    check_index,
)
from gobbler.service.worker_process import KeptWorker, allow_many_files, close_inherited, die_with

HEADERS_WITHIN = 10_000
"""Milliseconds in which a client must have sent its headers."""

BACKLOG = 4096
"""Connections that wait to be accepted."""

CONNECTIONS = 16_384
"""Connections that a worker has open at a time; idle ones must not keep others out."""

KILL_AFTER = 10
"""Seconds after the grace period at which a worker that does not end is killed."""

logger = logging.getLogger(__name__)


def serve(
    settings: Settings,
    form: LogFormat,
    *,
    debug: bool,
    on_start: Callable[[], None] | None = None,
) -> None:
    """Run the service until SIGTERM or SIGINT; ``on_start`` is called once it has started.

    Raises :class:`~gobbler.service.settings.Misconfigured` if it can't be started.
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
        _run(settings, form, config, debug=debug, on_start=on_start)


def _run(
    settings: Settings,
    form: LogFormat,
    config: dict[str, Any],
    *,
    debug: bool,
    on_start: Callable[[], None] | None,
) -> None:
    if settings.dask:
        check_cluster(settings.dask)
    allow_many_files()
    sweep(settings)
    # Workers learn that the service stops by the end of this pipe: it works in a signal
    # handler, where a lock would not, and it also tells when the supervisor is gone.
    stopping, running = multiprocessing.Pipe(duplex=False)
    server = _server(settings, config, debug=debug)
    worker = KeptWorker(settings, form, debug=debug)
    server.on_startup(partial(_on_startup, settings, server, worker, running))
    if on_start is not None:
        server.on_startup(on_start)
    loader = partial(_load, settings, stopping, running, os.getpid())
    try:
        server.serve(target_loader=loader, wrap_loader=False)
    finally:
        worker.stop()
        worker.wait()
    logger.info("stopped")


def _server(settings: Settings, config: dict[str, Any], *, debug: bool) -> Any:  # noqa: ANN401 - a platform's class
    return Granian(
        "gobbler",
        address=settings.host,
        port=settings.port,
        interface=Interfaces.ASGI,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=HEADERS_WITHIN),
        websockets=False,
        workers=settings.workers,
        backlog=BACKLOG,
        backpressure=CONNECTIONS,
        workers_kill_timeout=int(settings.grace) + KILL_AFTER,
        respawn_failed_workers=True,
        respawn_interval=0.1,
        log_dictconfig=config,
        log_level=LogLevels.debug if debug else LogLevels.warning,
    )


def _on_startup(
    settings: Settings,
    server: Any,  # noqa: ANN401
    worker: KeptWorker,
    running: Connection,
) -> None:
    supervisor = os.getpid()

    def stop(number: int, frame: object) -> None:
        del frame
        if os.getpid() != supervisor:
            os._exit(0)  # a worker that has only been forked yet, and serves nobody
        if not running.closed:
            running.close()
            logger.info("%s: stopping", signal.Signals(number).name)
            # What these call takes locks that the interrupted thread may hold.
            for target in (worker.stop, server.signal_handler_interrupt):
                threading.Thread(target=target, name="stop").start()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    start_upkeep(settings)
    if settings.jobs:
        worker.start()
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    logger.info(
        "gobbler %s serves %s from staging %s at http://%s:%d%s",
        __version__,
        settings.registry,
        settings.staging,
        host,
        settings.port,
        settings.prefix,
    )


def _load(
    settings: Settings, stopping: Connection, running: Connection, supervisor: int
) -> Application:
    """Make the application in a worker process."""
    running.close()
    die_with(supervisor)
    close_inherited((settings.staging, settings.registry))
    os.umask(0o022)
    application = Application(settings)
    threading.Thread(
        target=_give_up_in_time,
        args=(application, stopping, settings.grace),
        name="grace",
        daemon=True,
    ).start()
    return application


def _give_up_in_time(application: Application, stopping: Connection, grace: float) -> None:
    stopping.poll(None)
    application.following.end()
    time.sleep(grace)
    application.submitting.give_up_all("the service is stopping")
