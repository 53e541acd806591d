"""The HTTP workers of a service: each is a process that accepts from the one listening socket."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess
from typing import Any

from granian._granian import SocketHolder
from granian.constants import HTTPModes, Interfaces, RuntimeModes
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.mp import MPServer

from gobbler.fs.parent_process import die_with
from gobbler.service.app import Application
from gobbler.service.child_process import name_this_process
from gobbler.service.connections import break_off_all
from gobbler.service.listener import BACKLOG, stop_accepting
from gobbler.service.metrics.metrics import Metrics
from gobbler.service.settings import Settings

HEADER_TIMEOUT = 10_000
"""Milliseconds in which a client must have sent its headers."""

BUFFER_SIZE = 64 * 1024
"""Bytes of one connection that the server buffers; also the largest size of the headers."""

MAX_CONNECTIONS = 16_384
"""Connections that an HTTP worker keeps open; idle ones must not keep others out."""

SWITCH_INTERVAL = 0.001
"""Seconds after which a thread of an HTTP worker lets another one run."""

ANSWERED_WITHIN = 5.0
"""Seconds after the grace period in which requests that were cancelled are answered."""

HTTP_KILL_AFTER = 10
"""Seconds after the grace period at which an HTTP worker that does not end is killed."""


class HttpWorkers:
    """Makes the HTTP workers of one service, by the server's own code for a worker process.

    ``stopping`` is a pipe: its first end tells workers that the service stops, once the supervisor
    has closed the second or has died. A worker must not hold that one.
    """

    def __init__(
        self,
        settings: Settings,
        config: dict[str, Any],
        metrics: Metrics,
        listener: socket.socket,
        stopping: tuple[Connection, Connection],
        *,
        outlived: bool,
        debug: bool,
    ) -> None:
        self._server: Any = MPServer(
            "gobbler",
            address=settings.host,
            port=settings.port,
            interface=Interfaces.ASGINL,
            runtime_mode=RuntimeModes.mt,
            http=HTTPModes.http1,
            http1_settings=HTTP1Settings(
                header_read_timeout=HEADER_TIMEOUT, max_buffer_size=BUFFER_SIZE
            ),
            websockets=False,
            workers=settings.workers,
            backlog=BACKLOG,
            backpressure=MAX_CONNECTIONS,
            log_dictconfig=config,
            log_level=LogLevels.debug if debug else LogLevels.error,
        )
        holder: Any = SocketHolder
        self._server._shd = holder(listener.fileno(), False, BACKLOG)  # not a Unix socket
        self._server._sso = listener
        self._load = partial(
            _load,
            settings,
            stopping,
            metrics,
            listener.fileno() if outlived else None,
            supervisor=os.getpid(),
        )

    def new(self, number: int) -> ForkProcess:
        """A worker that is not started yet."""
        server = self._server
        worker = server._spawn_worker(
            idx=number - 1,
            target=server._spawn_asgi_worker,
            callback_loader=partial(self._load, number),
        )
        process: ForkProcess = worker.inner
        return process


def _load(
    settings: Settings,
    stopping: tuple[Connection, Connection],
    metrics: Metrics,
    listener: int | None,
    number: int,
    *,
    supervisor: int,
) -> Application:
    """Make the application in the HTTP worker with this ``number``.

    ``listener`` is the descriptor of a socket that outlives the service, if there is one.
    """
    # Ctrl-C in a terminal reaches all processes: the supervisor stops this one in time. Threads
    # that are made from now on inherit the mask.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    name_this_process(f"gobbler-http-{number}")
    ending, running = stopping
    running.close()
    die_with(supervisor)
    # A terminal that is closed sends it to all processes: the supervisor stops this one in time.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    metrics.join()
    # A thread that walks a large tree must not keep the event loop waiting for long.
    sys.setswitchinterval(SWITCH_INTERVAL)
    application = Application(settings, metrics)
    threading.Thread(
        target=_stop_in_time,
        args=(application, ending, listener, settings),
        name="grace",
        daemon=True,
    ).start()
    return application


def _stop_in_time(
    application: Application, ending: Connection, listener: int | None, settings: Settings
) -> None:
    """Take no more requests when the service stops, and cancel those that take too long.

    Who connects to a socket of systemd waits for the next service; others get 503.
    """
    ending.poll(None)
    if listener is not None:
        stop_accepting(listener)
    application.stop(refusing=listener is None)
    time.sleep(settings.grace)
    application.new.cancel_all("the service is stopping")
    time.sleep(ANSWERED_WITHIN)
    break_off_all(settings.port)  # the server would wait for clients that read nothing
