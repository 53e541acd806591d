"""An HTTP worker: one of the processes of a service that answer requests."""

from __future__ import annotations

import asyncio
import logging.config
import os
import signal
import socket
import sys
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from gobbler.service.app import Application
from gobbler.service.http.server import HttpServer
from gobbler.service.metrics.metrics import Metrics
from gobbler.service.settings import Settings
from gobbler.service.worker_process import die_with

SWITCH_INTERVAL = 0.001
"""Seconds after which a thread of an HTTP worker lets another one run."""

ANSWERED_WITHIN = 5.0
"""Seconds after the grace period in which requests that were cancelled are answered."""


class WorkerTask(NamedTuple):
    """What an HTTP worker needs; it can be pickled for a process that is spawned.

    ``stopping`` ends when the service stops. ``outlives``: ``listener`` outlives this service, so
    connections may wait in it for the next one. ``logging``: the configuration of the log.
    """

    settings: Settings
    metrics: Metrics
    listener: socket.socket
    outlives: bool
    stopping: Connection
    supervisor: int
    logging: Mapping[str, Any]


def run_forked(task: WorkerTask, running: Connection) -> None:
    """Work in a process that was forked. ``running``: the supervisor's end of the pipe."""
    running.close()
    _run(task)


def run_spawned(task: WorkerTask) -> None:
    """Work in a process that executes a new interpreter."""
    logging.config.dictConfig(dict(task.logging))
    _run(task)


def _run(task: WorkerTask) -> None:
    # Ctrl-C in a terminal reaches all processes: the supervisor stops this one in time. Threads
    # that are made from now on inherit the mask.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    die_with(task.supervisor)
    # A terminal that is closed sends it to all processes: the supervisor stops this one in time.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.umask(0o022)
    task.metrics.join()
    # A thread that walks a large tree must not keep the event loop waiting for long.
    sys.setswitchinterval(SWITCH_INTERVAL)
    asyncio.run(_serve(task))


async def _serve(task: WorkerTask) -> None:
    loop = asyncio.get_running_loop()
    application = Application(task.settings, task.metrics)
    server = HttpServer(task.listener, application)
    ended = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)

    def stop() -> None:
        """Take no more requests, and cancel those that take too long.

        Who connects to a socket that outlives the service waits for the next one; others get 503.
        """
        loop.remove_reader(task.stopping.fileno())
        if task.outlives:
            server.close()
        server.closes_connections = True  # the next service answers on another connection
        application.stop(refusing=not task.outlives)
        grace = task.settings.grace
        loop.call_later(grace, application.new.cancel_all, "the service is stopping")
        loop.call_later(grace + ANSWERED_WITHIN, server.break_off)

    loop.add_reader(task.stopping.fileno(), stop)
    server.open()
    await ended.wait()
    await server.finish()
