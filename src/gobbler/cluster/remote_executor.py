"""Batches in other processes than the service's: on any executor, with the same conditions.

Whoever runs a batch must have the same version of this package, see the same directories and be
the same account; else files would be missing, or belong to somebody else. Each process
makes sure of that before its first batch.
"""

from __future__ import annotations

import os
import pickle
import pwd
import socket
from collections.abc import Callable
from concurrent.futures import Executor, Future, InvalidStateError
from typing import Any

from gobbler import __version__
from gobbler.errors import Code, Fault, GobblerError, quoted
from gobbler.model.progress import NoProgress
from gobbler.transfer.dispatch import RemoteExecutor

Conditions = tuple[str, int, tuple[tuple[str, int], ...]]
"""Version, user ID, and the directories with the inode of each: plain values, so that they can
be read by whatever version is there.
"""

_met: set[Conditions] = set()


def conditions_of(*directories: str) -> Conditions:
    """What must be the same wherever batches of this service are run."""
    return __version__, os.geteuid(), tuple((d, os.stat(d).st_ino) for d in directories)


def run_there(conditions: Conditions, work: bytes) -> object:
    """Run a batch in this process; its result.

    ``work`` is the pickle of a function and a batch. Raises
    :class:`~gobbler.errors.Fault` if this process does not meet the ``conditions``.
    """
    if conditions not in _met:
        _check(conditions)
        _met.add(conditions)
    function, batch = pickle.loads(work)  # noqa: S301 - whoever may send it may run anything
    return function(batch, NoProgress())


def _check(conditions: Conditions) -> None:
    version, uid, directories = conditions
    here = f"the worker process {os.getpid()} on {socket.gethostname()}"
    if version != __version__:
        raise Fault(
            f"{here} has gobbler {__version__}, the service {version}",
            code=Code.MISCONFIGURED,
            hint="Install the same version in both places, then start the workers anew.",
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
    """Runs batches on ``executor``, whichever it is, if its processes meet ``conditions``."""

    def __init__(self, executor: Executor, conditions: Conditions) -> None:
        self._executor = executor
        self._conditions = conditions

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:  # noqa: ANN401 - as its base does
        """Hand out a batch: ``fn`` and its argument, without the progress, which stays here."""
        batch = args[0]
        work = pickle.dumps((fn, batch), pickle.HIGHEST_PROTOCOL)
        outer: Future[Any] = Future()
        inner = self._executor.submit(run_there, self._conditions, work, **kwargs)

        def given_up(future: Future[Any]) -> None:
            if future.cancelled():
                future.set_running_or_notify_cancel()  # for who waits
                inner.cancel()

        outer.add_done_callback(given_up)
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
            outer.set_exception(_told(error))
        else:
            outer.set_result(inner.result())
    except InvalidStateError:
        return  # nobody wants it any more


def _told(error: BaseException) -> BaseException:
    if isinstance(error, GobblerError | OSError):
        return error
    told = " ".join(str(error).split())
    fault = Fault(
        f"a batch could not be run elsewhere: {type(error).__name__}: {told}",
        code=Code.EXECUTOR_FAILED,
        hint=f"Its processes must stay alive, and have gobbler {__version__} as the service has.",
    )
    fault.__cause__ = error
    return fault
