"""The HTTP workers of a service: each is a process that accepts from the one listening socket."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import signal
import socket
import sys
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess

from gobbler.fs.parent_process import die_with
from gobbler.service.app import Application
from gobbler.service.child_process import name_this_process
from gobbler.service.http.server import HttpServer
from gobbler.service.metrics.metrics import Metrics
from gobbler.service.settings import Settings

SWITCH_INTERVAL = 0.001
"""Seconds after which a thread of an HTTP worker lets another one run."""

ANSWERED_WITHIN = 5.0
"""Seconds after the grace period in which requests that were cancelled are answered."""

HTTP_KILL_AFTER = 10
"""Seconds after the grace period at which an HTTP worker that does not end is killed."""


class HttpWorkers:
    """Makes the HTTP workers of one service.

    ``stopping`` is a pipe: its first end tells workers that the service stops, once the supervisor
    has closed the second or has died. A worker must not hold that one. ``outlived``: ``listener``
    outlives the service, so who connects while it stops waits for the next one; others get 503.
    """

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        listener: socket.socket,
        stopping: tuple[Connection, Connection],
        *,
        outlived: bool,
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._listener = listener
        self._stopping, self._running = stopping
        self._outlived = outlived
        self._supervisor = os.getpid()

    def new(self, number: int) -> ForkProcess:
        """A worker that is not started yet."""
        return multiprocessing.get_context("fork").Process(
            target=self._run, args=(number,), name=f"gobbler http {number}"
        )

    def _run(self, number: int) -> None:
        # Ctrl-C in a terminal reaches all processes: the supervisor stops this one in time.
        # Threads that are made from now on inherit the mask.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        name_this_process(f"gobbler-http-{number}")
        self._running.close()
        die_with(self._supervisor)
        # A terminal that is closed sends it to all processes: the supervisor stops this one.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self._metrics.join()
        # No line of the log names them.
        logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
        # A thread that walks a large tree must not keep the event loop waiting for long.
        sys.setswitchinterval(SWITCH_INTERVAL)
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        application = Application(self._settings, self._metrics)
        server = HttpServer(self._listener, application)
        ended = asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, ended.set)

        def stop() -> None:
            """Take no more requests, and cancel those that take too long."""
            loop.remove_reader(self._stopping.fileno())
            if self._outlived:
                server.close()
            server.closes_connections = True  # the next service answers on another connection
            application.stop(refusing=not self._outlived)
            grace = self._settings.grace
            loop.call_later(grace, application.new.cancel_all, "the service is stopping")
            loop.call_later(grace + ANSWERED_WITHIN, server.break_off)

        loop.add_reader(self._stopping.fileno(), stop)
        server.open()
        await ended.wait()
        await server.finish()
