"""The process that carries out jobs: alone (``gobbler worker``), or below a supervisor."""

from __future__ import annotations

import logging
import logging.config
import multiprocessing
import multiprocessing.popen_spawn_posix  # see WorkerProcess
import multiprocessing.resource_tracker
import os
import resource
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from multiprocessing.context import SpawnContext
from multiprocessing.process import BaseProcess

from gobbler import __version__
from gobbler.cluster.dask import check_cluster
from gobbler.fs.heartbeat import Heartbeat
from gobbler.fs.parent_process import die_with
from gobbler.model.jobs import CUR, SPOOL, WORKERS
from gobbler.service.cleanup import (
    keep_index,
    recover_after_crash,
    safely,
    start_background_tasks,
)
from gobbler.service.context import executor_of, make_service_context
from gobbler.service.log_format import LogFormat, log_config
from gobbler.service.metrics.metrics import Metrics
from gobbler.service.scheduler import Scheduler
from gobbler.service.settings import (
    Settings,
    check_accounts,
    check_directories,
    check_index,
    warn_about_root,
)
from gobbler.service.stop_signals import StopSignals, ignores_hangup

JOBS_KILL_AFTER = 10.0
"""Seconds after the grace period at which a worker process that does not end is killed."""

RESTART_PAUSE = 1.0
"""Seconds before a worker process that died is replaced."""

logger = logging.getLogger(__name__)


def work(
    settings: Settings,
    form: LogFormat = LogFormat.TEXT,
    *,
    debug: bool = False,
    executor: Executor | None = None,
) -> None:
    """Carry out the jobs of the spool until SIGTERM, SIGINT or SIGHUP; in the main thread.

    Batches of files run on ``executor``: any whose processes run as the same account, with
    the same version of gobbler, and see the same directories. Without one, they run in threads
    or on the cluster that ``settings`` name.

    Raises :class:`~gobbler.errors.Misconfigured` if the directories don't allow it, and
    :class:`~gobbler.errors.Fault` with the code ``executor-broken`` once ``executor`` is broken:
    another worker, or the next one with a new executor, goes on with the jobs.
    """
    os.umask(0o022)
    logging.config.dictConfig(log_config(form, debug=debug))
    warn_about_root()
    check_directories(settings)
    check_accounts(settings)
    check_index(settings)
    if settings.dask:
        check_cluster(settings.dask)
    allow_many_files()
    recover_after_crash(settings)
    metrics = Metrics()  # nobody reads it: a worker alone serves no HTTP
    start_background_tasks(settings, metrics)
    _run(
        settings,
        executor,
        metrics=metrics,
        ready=lambda: logger.info(
            "gobbler %s carries out the jobs in %s", __version__, settings.staging
        ),
    )


def _run(
    settings: Settings,
    given: Executor | None = None,
    *,
    metrics: Metrics,
    ready: Callable[[], None] = lambda: None,
) -> None:
    # Each job has threads of its own: one user's huge files must not fill a queue in which
    # everybody's files wait. A job dispatches one batch more than it runs at a time.
    threads = settings.jobs * (settings.concurrency + 1)
    service = make_service_context(settings, executor_of(settings, threads, given))
    threading.Thread(target=keep_index, args=(settings, metrics), name="index", daemon=True).start()
    scheduler = Scheduler(service, settings.replay_guard, settings.jobs, metrics)
    ended = threading.Event()
    idle = False

    def stop(number: signal.Signals) -> None:
        nonlocal idle
        logger.info("%s: taking no more jobs", number.name)
        heartbeat.stop()
        idle = scheduler.stop(settings.grace)
        ended.set()

    heartbeat = Heartbeat(f"{settings.staging}/{SPOOL}/{CUR}/{WORKERS}")
    signals = StopSignals(ignores_hangup=ignores_hangup())
    heartbeat.start()
    signals.on_first(stop)
    try:
        ready()  # only now: a reader of the log may send a signal
        scheduler.run()
        if scheduler.broken is None:
            ended.wait()
        else:
            heartbeat.stop()
            idle = scheduler.stop(settings.grace)
    finally:
        signals.close()
    if not idle:
        logger.warning("stopped; another worker will resume the jobs that were running")
        # Their threads can't be stopped, and need not be: it is like any other crash.
        logging.shutdown()
        os._exit(0 if scheduler.broken is None else 1)
    logger.info("stopped")
    if scheduler.broken is not None:
        raise scheduler.broken


def _run_below(
    settings: Settings, form: LogFormat, metrics: Metrics, supervisor: int, *, debug: bool
) -> None:
    die_with(supervisor)
    metrics.join()
    os.umask(0o022)
    logging.config.dictConfig(log_config(form, debug=debug))
    _run(settings, metrics=metrics)


class WorkerProcess:
    """A process below the supervisor that carries out jobs, and is replaced when it dies."""

    def __init__(
        self, settings: Settings, form: LogFormat, metrics: Metrics, *, debug: bool
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._form = form
        self._debug = debug
        self._process: BaseProcess | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="keep worker", daemon=True)

    def start(self) -> None:
        """Start the process, and a thread that replaces it."""
        self._thread.start()

    def _keep(self) -> None:
        # The supervisor has threads by now, so the process is spawned, not forked. Imports that
        # spawning needs stand at the top of this module: this thread must not hold the lock of
        # an import while another one spawns.
        context = multiprocessing.get_context("spawn")
        while not self._stopping.is_set():
            safely(partial(self._run_once, context), "the start of a worker process")
            self._stopping.wait(RESTART_PAUSE)

    def _run_once(self, context: SpawnContext) -> None:
        process = self._process = context.Process(
            target=_run_below,
            args=(self._settings, self._form, self._metrics, os.getpid()),
            kwargs={"debug": self._debug},
            name="worker",
        )
        process.start()
        if self._stopping.is_set():
            process.terminate()
        process.join()
        if not self._stopping.is_set():
            logger.error(
                "the worker process died (exit code %s); starting another one in %g s",
                process.exitcode,
                RESTART_PAUSE,
            )

    def stop(self) -> None:
        """Ask the process to stop; does not wait for it."""
        self._stopping.set()
        process = self._process
        if process is not None and process.is_alive():
            process.terminate()

    def wait(self) -> None:
        """Wait until the process has ended, and kill it if that takes too long."""
        if self._thread.ident is None:
            return  # it was never started
        self._thread.join(self._settings.grace + JOBS_KILL_AFTER)
        if self._thread.is_alive() and self._process is not None:
            self._process.kill()
            self._thread.join(JOBS_KILL_AFTER)


def allow_many_files() -> None:
    """Raise the limit of open files of this process as far as the system allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
