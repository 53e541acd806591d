"""A Dask cluster as an executor, with threads of this process to fall back on.

The cluster helps, and is not needed: while its scheduler can't be reached, or it has no
worker, batches are run here. So a service can be started before its cluster, and what was
handed to a cluster that goes away is done all the same.
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
from concurrent.futures import Executor, Future, InvalidStateError
from contextlib import suppress
from functools import partial
from typing import Any

from gobbler.errors import Misconfigured

CONNECT_SECONDS = 3.0
"""Seconds in which the scheduler must answer."""

RETRY_AFTER = 10.0
"""Seconds after which it is tried again to reach the scheduler."""

NO_WORKER_SECONDS = 60.0
"""Seconds that batches wait for a worker while the cluster has none; one may be starting."""

LOOK_EVERY = 1.0
"""Seconds between two looks whether there are workers."""

_ADDRESS = re.compile(
    r"(?P<protocol>tcp|tls)://(?P<host>\[[0-9a-fA-F:]+\]|[^:/\[\]]+):(?P<port>\d+)"
)

logger = logging.getLogger(__name__)


def check_cluster(address: str) -> None:
    """Make sure that batches can be sent to the scheduler at ``address``, now or later.

    Raises :class:`~gobbler.service.settings.Misconfigured`; that the scheduler does not
    answer now is only logged.
    """
    found = _ADDRESS.fullmatch(address)
    if found is None or not 0 < int(found["port"]) < 65536:
        raise Misconfigured(
            f"{address!r} is not the address of a Dask scheduler",
            hint="It looks like tcp://host:8786, or tls://host:8786.",
        )
    try:
        # Now, while there is one thread: what a thread imports at the moment of a fork can't be
        # imported any more in the process that is forked.
        importlib.import_module("distributed")
    except ImportError as error:
        raise Misconfigured(
            f"--dask needs the package distributed, which can't be loaded: {error}",
            hint="Install it with: pip install 'gobbler-registry[dask]'",
        ) from None
    host = found["host"].strip("[]")
    if found["protocol"] == "tcp" and host not in ("localhost", "127.0.0.1", "::1"):
        logger.warning(
            "whoever can reach %s, or a worker of it, can run anything as this account; "
            "use tls:// unless a firewall keeps others out",
            address,
        )
    try:
        socket.create_connection((host, int(found["port"])), CONNECT_SECONDS).close()
    except OSError as error:
        logger.warning(
            "no Dask scheduler answers at %s (%s): until one does, batches are run here",
            address,
            error.strerror or error,
        )


class DaskExecutor(Executor):
    """The cluster of the scheduler at ``address``; ``here`` runs what it can't.

    It connects when the first batch is handed out, so in the process that does so. What
    is run must be safe to run more than once: see :mod:`gobbler.transfer.batch`.
    """

    def __init__(self, address: str, here: Executor) -> None:
        self._address = address
        self._here = here
        self._lock = threading.Lock()
        self._client: Any = None
        self._next_try = 0.0
        self._is_lost = False
        self._had_workers = 0.0
        self._handed: dict[Any, Callable[[], None]] = {}
        self._numbers = itertools.count()
        self._prefix = f"gobbler-{os.getpid()}-{secrets.token_hex(4)}"

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:  # noqa: ANN401 - as its base does
        """Run ``fn`` in the cluster, or else here."""
        outer: Future[Any] = Future()
        run_here = partial(self._run_here, outer, fn, args, kwargs)
        client = self._connected()
        if client is None or not self._has_workers():
            run_here()
            return outer
        key = f"{self._prefix}-{next(self._numbers)}"
        try:
            inner = client.submit(fn, *args, key=key, pure=False, **kwargs)
        except Exception as error:  # noqa: BLE001 - whatever its trouble is, there is another way
            self._lose(error)
            run_here()
            return outer
        with self._lock:
            self._handed[inner] = run_here

        def given_up(future: Future[Any]) -> None:
            if future.cancelled():
                future.set_running_or_notify_cancel()  # for who waits
                with self._lock:
                    self._handed.pop(inner, None)
                with suppress(Exception):
                    inner.cancel()

        outer.add_done_callback(given_up)
        inner.add_done_callback(partial(self._ended, outer))
        return outer

    def _ended(self, outer: Future[Any], inner: Any) -> None:  # noqa: ANN401 - a library's class
        with self._lock:
            run_here = self._handed.pop(inner, None)
        if run_here is None:
            return  # it was given up, or is run here
        try:
            if inner.status == "finished":
                outer.set_result(inner.result())
                return
            error = inner.exception() if inner.status == "error" else None
        except InvalidStateError:
            return
        except Exception as trouble:  # noqa: BLE001 - the cluster went while it was asked
            self._lose(trouble)
            run_here()
            return
        if error is None or type(error).__module__.startswith(("distributed.", "dask.")):
            # Lost with the scheduler, or its workers died of it, or of something else.
            logger.warning(
                "the Dask cluster gave a batch up, which is run here: %s", error or inner.status
            )
            run_here()
            return
        with suppress(InvalidStateError):
            outer.set_exception(error)

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
            self._next_try = now + CONNECT_SECONDS + RETRY_AFTER
            stale, self._client = self._client, None
        # Outside of the lock: what is handed out meanwhile need not wait for this.
        if stale is not None:
            threading.Thread(target=_close, args=(stale,), name="close", daemon=True).start()
        try:
            client = importlib.import_module("distributed").Client(
                self._address,
                timeout=CONNECT_SECONDS,
                set_as_default=False,
                name=self._prefix,
            )
        except Exception as error:  # noqa: BLE001 - whatever its trouble is, there is another way
            self._lose(error)
            return None
        with self._lock:
            self._client = client
            self._is_lost = False
            self._had_workers = time.monotonic()
        logger.info("batches are run by the Dask cluster at %s", self._address)
        threading.Thread(
            target=self._watch, args=(client,), name="watch cluster", daemon=True
        ).start()
        return client

    def _lose(self, error: object) -> None:
        with self._lock:
            first, self._is_lost = not self._is_lost, True
        if first:
            logger.warning(
                "the Dask scheduler at %s can't be used, so batches are run here: %s",
                self._address,
                error,
            )

    def _has_workers(self) -> bool:
        """Whether the cluster has a worker, or had one a moment ago."""
        return time.monotonic() - self._had_workers < NO_WORKER_SECONDS

    def _watch(self, client: Any) -> None:  # noqa: ANN401 - a library's class
        """As long as ``client`` serves, know whether there are workers."""
        while client.status in ("running", "connecting"):
            with suppress(Exception):
                if client.status == "running" and client.nthreads():
                    self._had_workers = time.monotonic()
            if not self._has_workers():
                self._take_back("it has no worker")
            time.sleep(LOOK_EVERY)
        self._take_back("its scheduler is gone")

    def _take_back(self, reason: str) -> None:
        """Run here what was handed out."""
        with self._lock:
            handed, self._handed = self._handed, {}
        if handed:
            logger.warning(
                "%d batches are run here rather than by the Dask cluster: %s", len(handed), reason
            )
        for inner, run_here in handed.items():
            run_here()
            with suppress(Exception):
                inner.cancel()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Leave the cluster, and shut the executor of this process down."""
        client, self._client = self._client, None
        if client is not None:
            _close(client)
        self._here.shutdown(wait=wait, cancel_futures=cancel_futures)


def _close(client: Any) -> None:  # noqa: ANN401 - a library's class
    with suppress(Exception):
        client.close(timeout=CONNECT_SECONDS)
