"""Running batches in other processes, perhaps on other hosts.

A process that runs batches must have the same version of this package, see the same directories
and run as the same account as the service. Otherwise files would be missing, or belong to another
account. Each process checks this before its first batch.
"""

from __future__ import annotations

import os
import pickle
import pwd
import socket
from collections.abc import Callable
from concurrent.futures import (
    BrokenExecutor,
    Executor,
    Future,
    InvalidStateError,
    ThreadPoolExecutor,
)
from typing import Any

from gobbler import __version__
from gobbler.cluster.dask import DaskExecutor
from gobbler.errors import Code, Fault, GobblerError, quoted
from gobbler.transfer.executors import LocalExecutor, RemoteExecutor
from gobbler.transfer.run_report import RunReporter

Conditions = tuple[str, int, tuple[tuple[str, int], ...]]
"""Version, user ID, and the inode of each directory: plain values, which every version reads."""

_met: set[Conditions] = set()


def conditions_of(*directories: str) -> Conditions:
    """The conditions that a process must meet to run batches of this one."""
    return __version__, os.geteuid(), tuple((d, os.stat(d).st_ino) for d in directories)


def run_there(conditions: Conditions, work: bytes) -> object:
    """Run a batch in this process, and return its result.

    ``work`` is the pickle of a function, a batch and its progress. Raises
    :class:`~gobbler.errors.Fault` if this process does not meet the ``conditions``.
    """
    if conditions not in _met:
        _check(conditions)
        _met.add(conditions)
    function, batch, progress = pickle.loads(work)  # noqa: S301 - who can send it can run anything
    if isinstance(progress, RunReporter):
        progress.write()
    return function(batch, progress)


def _check(conditions: Conditions) -> None:
    version, uid, directories = conditions
    here = f"the worker process {os.getpid()} on {socket.gethostname()}"
    if version != __version__:
        raise Fault(
            f"{here} has gobbler {__version__}, the service {version}",
            code=Code.MISCONFIGURED,
            hint="Install the same version in both places, then restart the workers.",
        )
    if uid != os.geteuid():
        raise Fault(
            f"{here} runs as {_account(os.geteuid())}, the service as {_account(uid)}",
            code=Code.MISCONFIGURED,
            hint="Start the workers as the account of the service.",
        )
    for path, inode in directories:
        try:
            found = os.stat(path).st_ino
        except OSError as error:
            raise Fault(
                f"{here} can't see {quoted(path)}: {error.strerror}",
                code=Code.MISCONFIGURED,
                hint="Mount the directories of the service there, at the same paths.",
            ) from None
        if found != inode:
            raise Fault(
                f"{here} sees another directory at {quoted(path)} than the service",
                code=Code.MISCONFIGURED,
                hint="Mount the directories of the service there, at the same paths.",
            )


def _account(uid: int) -> str:
    try:
        return quoted(pwd.getpwuid(uid).pw_name)
    except KeyError:
        return f"user ID {uid}"


class AnyExecutor(RemoteExecutor):
    """Runs batches on any ``executor`` whose processes meet ``conditions``."""

    def __init__(self, executor: Executor, conditions: Conditions) -> None:
        self._executor = executor
        self._conditions = conditions

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:  # noqa: ANN401 - as its base does
        """Submit ``fn`` with its batch and its progress.

        Raises :class:`~gobbler.errors.Fault` if the executor is broken or shut down.
        """
        batch, progress = args
        work = pickle.dumps((fn, batch, progress), pickle.HIGHEST_PROTOCOL)
        outer: Future[Any] = Future()
        try:
            inner = self._executor.submit(run_there, self._conditions, work, **kwargs)
        except RuntimeError as error:
            raise _broken(error) from error

        def cancelled(future: Future[Any]) -> None:
            if future.cancelled():
                future.set_running_or_notify_cancel()  # wakes those that wait
                inner.cancel()

        outer.add_done_callback(cancelled)
        inner.add_done_callback(lambda future: _hand_on(future, outer))
        return outer

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Shut the executor down."""
        self._executor.shutdown(wait=wait, cancel_futures=cancel_futures)


def _hand_on(inner: Future[Any], outer: Future[Any]) -> None:
    try:
        if inner.cancelled():
            outer.set_exception(Fault("the executor cancelled a batch", code=Code.EXECUTOR_FAILED))
        elif (error := inner.exception()) is not None:
            outer.set_exception(_as_fault(error))
        else:
            outer.set_result(inner.result())
    except InvalidStateError:
        return  # it was cancelled


def _as_fault(error: BaseException) -> BaseException:
    if isinstance(error, GobblerError | OSError):
        return error
    # Ctrl-C in a terminal also interrupts the processes of a pool.
    if isinstance(error, BrokenExecutor) or not isinstance(error, Exception):
        return _broken(error)
    fault = Fault(
        f"a remote executor failed: {type(error).__name__}: {' '.join(str(error).split())}",
        code=Code.EXECUTOR_FAILED,
        hint=f"Check that its processes run, and that they have gobbler {__version__}.",
    )
    fault.__cause__ = error
    return fault


def _broken(error: BaseException) -> Fault:
    """The error of an executor that runs no batch any more."""
    name, text = type(error).__name__, " ".join(str(error).split())
    if isinstance(error, RuntimeError) and not isinstance(error, BrokenExecutor):
        return Fault(
            f"the executor takes no more work: {name}: {text}",
            code=Code.EXECUTOR_BROKEN,
            hint="Make a new executor, and keep it open for as long as it is used.",
        )
    fault = Fault(
        f"the executor is broken, since one of its processes was stopped or killed ({name})",
        code=Code.EXECUTOR_BROKEN,
        hint="The kernel kills processes when memory is short: `journalctl -k` or `dmesg` tells. "
        "Allow more memory, or use fewer processes. Then start again with a new executor.",
    )
    fault.__cause__ = error
    return fault


def make_executor(
    directories: tuple[str, str],
    *,
    threads: int,
    processes: int = 0,
    dask: str = "",
    executor: Executor | None = None,
) -> Executor:
    """The executor of a service that works in ``directories``: its staging and its registry.

    Returns ``executor`` if it is given; else the cluster of the Dask scheduler at the address
    ``dask``, if there is one; else ``threads`` threads of this process, with up to ``processes``
    local processes for many small files. Every other executor but a thread pool counts as remote:
    its processes may die, and it may then run a batch again.
    """
    if isinstance(executor, ThreadPoolExecutor | RemoteExecutor):
        return executor
    if executor is not None:
        return AnyExecutor(executor, conditions_of(*directories))
    if not dask:
        return LocalExecutor(threads, processes)
    here = ThreadPoolExecutor(threads, thread_name_prefix="batch")
    return AnyExecutor(DaskExecutor(dask, here), conditions_of(*directories))
