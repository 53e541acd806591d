"""A Dask cluster as an executor that falls back on threads of this process.

While the scheduler can't be reached, or has no worker, batches run here. So a service can start
before its cluster, and batches of a cluster that goes away still complete.
"""

from __future__ import annotations

import importlib
import itertools
import logging
import os
import re
import secrets
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, InvalidStateError, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any

from gobbler.errors import Misconfigured

SCHEDULER_CONNECT_SECONDS = 3.0
"""Seconds in which the scheduler must answer."""

RETRY_AFTER = 10.0
"""Seconds between two attempts to reach the scheduler."""

NO_WORKER_SECONDS = 60.0
"""Seconds that batches wait while the cluster has no worker: one may be starting."""

WORKER_CHECK_SECONDS = 1.0
"""Seconds between two checks for workers."""

SCHEDULER_SILENCE_SECONDS = 10.0
"""Seconds in which a connected scheduler must say which workers it has."""

RESULT_SECONDS = 15.0
"""Seconds in which a worker must hand over the result of a batch that it has done."""

COLLECTORS = 8
"""Threads that collect results: a worker that hangs keeps one of them waiting."""

_ADDRESS = re.compile(
    r"(?P<protocol>tcp|tls)://(?P<host>\[[0-9a-fA-F:]+\]|[^:/\[\]]+):(?P<port>\d+)"
)

logger = logging.getLogger(__name__)


def check_cluster(address: str) -> None:
    """Check that batches can be sent to the scheduler at ``address``.

    Raises :class:`~gobbler.errors.Misconfigured`. A scheduler that does not answer yet is only
    logged.
    """
    found = _ADDRESS.fullmatch(address)
    if found is None or not 0 < int(found["port"]) < 65536:
        raise Misconfigured(
            f"{address!r} is not the address of a Dask scheduler",
            hint="It looks like tcp://host:8786, or tls://host:8786.",
        )
    try:
        # Now, while there is one thread: a module that a thread imports during a fork can't be
        # imported in the forked process.
        importlib.import_module("distributed")
    except ImportError as error:
        raise Misconfigured(
            f"--dask needs the package distributed, which failed to load: {error}",
            hint="Install it with: pip install 'gobbler-registry[dask]'",
        ) from None
    host = found["host"].strip("[]")
    if found["protocol"] == "tcp" and host not in ("localhost", "127.0.0.1", "::1"):
        logger.warning(
            "anyone who can reach %s or one of its workers can run code as this account: "
            "use tls://, or a firewall",
            address,
        )
    try:
        socket.create_connection((host, int(found["port"])), SCHEDULER_CONNECT_SECONDS).close()
    except OSError as error:
        logger.warning(
            "no Dask scheduler answers at %s (%s): batches run in this process until one does",
            address,
            error.strerror or error,
        )


class DaskExecutor(Executor):
    """The cluster of the scheduler at ``address``, with the executor ``here`` as a fallback.

    It connects when the first batch is submitted, in the process that submits it. Batches must be
    safe to run more than once: see :mod:`gobbler.transfer.batch`.
    """

    def __init__(self, address: str, here: Executor) -> None:
        self._address = address
        self._here = here
        self._lock = threading.Lock()
        self._client: Any = None
        self._next_try = 0.0
        self._is_lost = False
        self._had_workers = 0.0
        self._submitted: dict[Any, Callable[[], None]] = {}
        self._numbers = itertools.count()
        self._collectors = ThreadPoolExecutor(COLLECTORS, thread_name_prefix="collect")
        self._prefix = f"gobbler-{os.getpid()}-{secrets.token_hex(4)}"

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:  # noqa: ANN401 - as its base does
        """Run ``fn`` in the cluster, or else in this process."""
        outer: Future[Any] = Future()
        run_here = partial(self._run_here, outer, fn, args, kwargs)
        client = self._connected()
        if client is None or not self._has_workers():
            run_here()
            return outer
        key = f"{self._prefix}-{next(self._numbers)}"
        try:
            inner = client.submit(fn, *args, key=key, pure=False, **kwargs)
        except Exception as error:  # noqa: BLE001 - every failure has the same fallback
            self._lose(error)
            run_here()
            return outer
        with self._lock:
            self._submitted[inner] = run_here

        def cancelled(future: Future[Any]) -> None:
            if future.cancelled():
                future.set_running_or_notify_cancel()  # wakes those that wait
                with self._lock:
                    self._submitted.pop(inner, None)
                _cancel(inner)

        outer.add_done_callback(cancelled)
        inner.add_done_callback(partial(self._ended, outer))
        return outer

    def _ended(self, outer: Future[Any], inner: Any) -> None:  # noqa: ANN401 - a library's class
        if inner.status == "finished":
            # All callbacks of the library share the present thread, which must not wait.
            try:
                self._collectors.submit(self._collect, outer, inner)
            except RuntimeError:
                logger.debug("a batch has ended after this executor was shut down")
            return
        with self._lock:
            run_here = self._submitted.pop(inner, None)
        if run_here is None:
            return  # it was cancelled, or runs here
        error: object = inner.status
        try:
            if inner.status == "error":
                error = inner.exception()
        except Exception as trouble:  # noqa: BLE001 - the cluster went away meanwhile
            self._lose(trouble)
            run_here()
            return
        module = type(error).__module__
        if not isinstance(error, BaseException) or module.startswith(("distributed.", "dask.")):
            # Its scheduler went away, or its workers died.
            logger.warning(
                "the Dask cluster failed to run a batch; this process runs it: %s", error
            )
            run_here()
            return
        with suppress(InvalidStateError):
            outer.set_exception(error)

    def _collect(self, outer: Future[Any], inner: Any) -> None:  # noqa: ANN401 - a library's class
        """Get the result of a batch from the worker that has done it."""
        try:
            result = inner.result(RESULT_SECONDS)
        except Exception as trouble:  # noqa: BLE001 - every failure has the same fallback
            with self._lock:
                run_here = self._submitted.pop(inner, None)
            if run_here is not None:
                logger.warning(
                    "a Dask worker has done a batch and does not hand over its result, so this "
                    "process runs the batch: %s",
                    str(trouble) or type(trouble).__name__,
                )
                run_here()
                _cancel(inner)
            return
        with self._lock:
            self._submitted.pop(inner, None)
        with suppress(InvalidStateError):
            outer.set_result(result)

    def _run_here(
        self,
        outer: Future[Any],
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        if outer.done():
            return

        def ended(inner: Future[Any]) -> None:
            with suppress(InvalidStateError):
                if (error := inner.exception()) is not None:
                    outer.set_exception(error)
                else:
                    outer.set_result(inner.result())

        self._here.submit(fn, *args, **kwargs).add_done_callback(ended)

    def _connected(self) -> Any:  # noqa: ANN401 - a library's class
        """The client, if the scheduler can be reached."""
        with self._lock:
            if self._client is not None and self._client.status == "running":
                return self._client
            now = time.monotonic()
            if now < self._next_try:
                return None
            self._next_try = now + SCHEDULER_CONNECT_SECONDS + RETRY_AFTER
            stale, self._client = self._client, None
        # Outside of the lock: other batches need not wait for this.
        if stale is not None:
            threading.Thread(target=_close, args=(stale,), name="close", daemon=True).start()
        try:
            client = importlib.import_module("distributed").Client(
                self._address,
                timeout=SCHEDULER_CONNECT_SECONDS,
                set_as_default=False,
                name=self._prefix,
            )
        except Exception as error:  # noqa: BLE001 - every failure has the same fallback
            self._lose(error)
            return None
        with self._lock:
            self._client = client
            self._is_lost = False
            self._had_workers = time.monotonic()
        logger.info("batches run in the Dask cluster at %s", self._address)
        threading.Thread(
            target=self._watch, args=(client,), name="watch cluster", daemon=True
        ).start()
        return client

    def _lose(self, error: object) -> None:
        with self._lock:
            first, self._is_lost = not self._is_lost, True
        if first:
            logger.warning(
                "the Dask scheduler at %s can't be used, so batches run in this process: %s",
                self._address,
                error,
            )

    def _has_workers(self) -> bool:
        """Whether the cluster has a worker, or had one a moment ago."""
        return time.monotonic() - self._had_workers < NO_WORKER_SECONDS

    def _watch(self, client: Any) -> None:  # noqa: ANN401 - a library's class
        """Look for workers while ``client`` is connected."""
        was_usable = True
        while client.status in ("running", "connecting"):
            trouble = self._look_for_workers(client)
            is_usable = self._has_workers()
            if not is_usable:
                self._run_all_here(trouble)
            if is_usable != was_usable and is_usable:
                logger.info("batches run in the Dask cluster at %s again", self._address)
            elif is_usable != was_usable:
                logger.warning(
                    "the Dask cluster at %s can't be used, so batches run in this process: %s",
                    self._address,
                    trouble,
                )
            was_usable = is_usable
            time.sleep(WORKER_CHECK_SECONDS)
        self._run_all_here("its scheduler is gone")

    def _look_for_workers(self, client: Any) -> str:  # noqa: ANN401 - a library's class
        """Note whether the cluster has workers; what is wrong otherwise."""
        try:
            if client.status == "running" and client.nthreads(
                callback_timeout=SCHEDULER_SILENCE_SECONDS
            ):
                self._had_workers = time.monotonic()
        except Exception as error:  # noqa: BLE001 - every failure has the same fallback
            return f"its scheduler does not answer: {str(error) or type(error).__name__}"
        return "it has no worker"

    def _run_all_here(self, reason: str) -> None:
        """Run all submitted batches in this process."""
        with self._lock:
            submitted, self._submitted = self._submitted, {}
        if submitted:
            logger.warning(
                "this process runs %d batches instead of the Dask cluster: %s",
                len(submitted),
                reason,
            )
        for inner, run_here in submitted.items():
            try:
                run_here()
            except Exception:  # it is shut down, perhaps; the others may still run
                logger.exception("could not run a batch in this process")
            _cancel(inner)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Leave the cluster, and shut the executor of this process down."""
        client, self._client = self._client, None
        if client is not None:
            _close(client)
        self._collectors.shutdown(wait=False, cancel_futures=True)
        self._here.shutdown(wait=wait, cancel_futures=cancel_futures)


def _cancel(inner: Any) -> None:  # noqa: ANN401 - a library's class
    with suppress(Exception):
        inner.cancel()


def _close(client: Any) -> None:  # noqa: ANN401 - a library's class
    with suppress(Exception):
        client.close(timeout=SCHEDULER_CONNECT_SECONDS)
