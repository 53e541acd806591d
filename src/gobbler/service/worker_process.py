"""The worker process: it carries out jobs, and what a service does in the background.

It runs alone (``gobbler worker``), or below a supervisor.
"""

from __future__ import annotations

import logging
import logging.config
import os
import signal
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Executor
from multiprocessing.connection import Connection, wait

from gobbler import __version__
from gobbler.cluster.dask import check_cluster
from gobbler.fs.heartbeat import Heartbeat
from gobbler.fs.open_files import allow_many_files
from gobbler.fs.parent_process import die_with
from gobbler.model.jobs import CUR, SPOOL, WORKERS
from gobbler.service.child_process import name_this_process
from gobbler.service.cleanup import (
    recover_changes,
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
    recover_changes(settings)
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


def run_below(
    settings: Settings,
    metrics: Metrics,
    supervisor: int,
    unused: tuple[Connection, socket.socket],
) -> None:
    """Work below the process ``supervisor``, which has forked this one.

    ``unused`` are the supervisor's own: its end of the pipe that tells that the service stops, and
    the socket at which that listens, where this process would keep clients waiting.
    """
    name_this_process("gobbler-worker")
    die_with(supervisor)
    for each in unused:
        each.close()
    metrics.join()
    # A directory server may take long, and nobody waits for what is only a warning.
    threading.Thread(target=check_accounts, args=[settings], name="accounts", daemon=True).start()
    start_background_tasks(settings, metrics)
    if settings.jobs:
        _run(settings, metrics=metrics)
    else:
        _await_signal()


def _await_signal() -> None:
    signals = StopSignals(ignores_hangup=ignores_hangup())
    while signals.first() is None:
        wait([signals.descriptor])
    signals.close()
