"""The process of a worker: alone (``gobbler worker``) or below the supervisor of a service."""

from __future__ import annotations

import ctypes
import logging
import logging.config
import multiprocessing
import multiprocessing.popen_spawn_posix  # see KeptWorker
import multiprocessing.resource_tracker
import os
import resource
import signal
import threading
from collections.abc import Callable, Collection
from concurrent.futures import Executor
from contextlib import suppress
from multiprocessing.process import BaseProcess

from gobbler import __version__
from gobbler.cluster.dask import check_cluster
from gobbler.service.cleanup import keep_index, start_upkeep, sweep
from gobbler.service.context import make_executor, make_service_context
from gobbler.service.log_format import LogFormat, log_config
from gobbler.service.scheduler import Worker
from gobbler.service.settings import Settings, check_directories, check_index

KILL_AFTER = 10.0
"""Seconds after the grace period at which a worker that does not end is killed."""

PAUSE = 1.0
"""Seconds before a worker that has died is started anew."""

logger = logging.getLogger(__name__)


def work(
    settings: Settings,
    form: LogFormat = LogFormat.TEXT,
    *,
    debug: bool = False,
    executor: Executor | None = None,
) -> None:
    """Carry out the jobs of the spool until told to stop with SIGTERM or SIGINT.

    Batches of files are run by threads, or the cluster that ``settings`` name, unless an
    ``executor`` is given: any whose processes run as the same account, with the same version
    of gobbler, and see the same directories. RequestContext it in the main thread.

    Raises :class:`~gobbler.service.settings.Misconfigured` if the directories don't allow it.
    """
    os.umask(0o022)
    logging.config.dictConfig(log_config(form, debug=debug))
    check_directories(settings)
    check_index(settings)
    if settings.dask:
        check_cluster(settings.dask)
    allow_many_files()
    sweep(settings)
    start_upkeep(settings)
    _run(
        settings,
        executor,
        ready=lambda: logger.info(
            "gobbler %s works on the jobs in %s", __version__, settings.staging
        ),
    )


def _run(
    settings: Settings,
    given: Executor | None = None,
    *,
    ready: Callable[[], None] = lambda: None,
) -> None:
    # Each job has threads of its own: one user's huge files must not fill a queue in which
    # everybody's files wait. A job hands out one batch more than it wants to run.
    threads = settings.jobs * (settings.concurrency + 1)
    service = make_service_context(settings, make_executor(settings, threads, given))
    threading.Thread(target=keep_index, args=(settings,), name="index", daemon=True).start()
    worker = Worker(service, settings.replay_guard, settings.jobs)
    ended = threading.Event()
    idle = False

    def stop() -> None:
        nonlocal idle
        idle = worker.stop(settings.grace)
        ended.set()

    def on_signal(number: int, frame: object) -> None:
        del frame
        if not ended.is_set():
            logger.info("%s: taking no more jobs", signal.Signals(number).name)
            # What this calls takes a lock that the interrupted thread may hold.
            threading.Thread(target=stop, name="stop").start()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    ready()  # not before: who reads that may send a signal
    worker.run()
    ended.wait()
    if not idle:
        logger.warning("stopped; jobs under way will be gone on with")
        # Their threads can't be stopped, and need not be: it is like any other crash.
        logging.shutdown()
        os._exit(0)
    logger.info("stopped")


def _below(settings: Settings, form: LogFormat, supervisor: int, *, debug: bool) -> None:
    die_with(supervisor)
    os.umask(0o022)
    logging.config.dictConfig(log_config(form, debug=debug))
    _run(settings)


class KeptWorker:
    """A worker in a process of its own that is started anew whenever it dies."""

    def __init__(self, settings: Settings, form: LogFormat, *, debug: bool) -> None:
        self._settings = settings
        self._form = form
        self._debug = debug
        self._process: BaseProcess | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="keep worker", daemon=True)

    def start(self) -> None:
        """Start it."""
        self._thread.start()

    def _keep(self) -> None:
        # Nothing is shared with a process that runs threads: it is not forked from it. What
        # this needs is imported at the top, for an HTTP worker that is forked while a thread
        # imports something can't ever import it.
        context = multiprocessing.get_context("spawn")
        while not self._stopping.is_set():
            self._process = context.Process(
                target=_below,
                args=(self._settings, self._form, os.getpid()),
                kwargs={"debug": self._debug},
                name="worker",
            )
            self._process.start()
            if self._stopping.is_set():
                self._process.terminate()
            self._process.join()
            if not self._stopping.is_set():
                logger.error("the worker died (exit code %s)", self._process.exitcode)
                self._stopping.wait(PAUSE)

    def stop(self) -> None:
        """Tell it to stop."""
        self._stopping.set()
        process = self._process
        if process is not None and process.is_alive():
            process.terminate()

    def wait(self) -> None:
        """Wait until it has stopped; kill it if that takes too long."""
        self._thread.join(self._settings.grace + KILL_AFTER)
        if self._thread.is_alive() and self._process is not None:
            self._process.kill()
            self._thread.join(KILL_AFTER)


PR_SET_PDEATHSIG = 1


def die_with(parent: int) -> None:
    """Have the kernel kill this process as soon as its ``parent`` is gone."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)  # it died before that was asked for


def allow_many_files() -> None:
    """Let this process open as many files as it may ask for."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def close_inherited(directories: Collection[str]) -> None:
    """Close all descriptors of files in ``directories`` (absolute paths).

    To be called first thing in a process that was forked while other threads of its parent
    were at work. ``flock`` belongs to the open file, not to the process: as long as the
    child keeps its descriptor of a lock file, the lock that the parent held at that moment
    is never free again.
    """
    # The kernel tells paths without links, whatever links the given ones lead through.
    tops = tuple(f"{os.path.realpath(directory)}/" for directory in directories)
    try:
        numbers = [int(name) for name in os.listdir("/proc/self/fd")]
    except FileNotFoundError:
        return
    for number in numbers:
        with suppress(OSError):
            if f"{os.readlink(f'/proc/self/fd/{number}')}/".startswith(tops):
                os.close(number)
