"""The installation that settings describe, and what its batches are run by."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from concurrent.futures import Executor, ThreadPoolExecutor

import msgspec

from gobbler.actions import carry_out
from gobbler.actions.context import Requester, ServiceContext
from gobbler.cluster.dask import DaskExecutor
from gobbler.cluster.remote_executor import AnyExecutor, conditions_of
from gobbler.fs.open import account_name
from gobbler.index import Index
from gobbler.model.progress import CancelToken, NeverCancelled, NoProgress, Progress
from gobbler.registry.registry import Registry
from gobbler.service.cleanup import recover_after_crash
from gobbler.service.settings import Settings, check_directories, check_index
from gobbler.transfer.dispatch import RemoteExecutor


def make_executor(settings: Settings, threads: int, executor: Executor | None = None) -> Executor:
    """The executor that ``settings`` ask for, with so many ``threads`` of this process.

    ``executor`` takes its place, if it is given. Any but a thread pool is taken to have other
    processes, which may die, and to run a batch anew when one does.
    """
    if executor is not None:
        if isinstance(executor, ThreadPoolExecutor | RemoteExecutor):
            return executor
        return AnyExecutor(executor, conditions_of(settings.staging, settings.registry))
    here = ThreadPoolExecutor(threads, thread_name_prefix="batch")
    if not settings.dask:
        return here
    return AnyExecutor(
        DaskExecutor(settings.dask, here), conditions_of(settings.staging, settings.registry)
    )


def make_service_context(settings: Settings, executor: Executor) -> ServiceContext:
    """The installation that ``settings`` describe, with its batches run by ``executor``."""
    return ServiceContext(
        staging=settings.staging,
        registry=Registry(settings.registry),
        admins=settings.admins,
        whitelist=settings.whitelist,
        spoofing=dict(settings.spoofing),
        durability=settings.durability,
        executor=executor,
        width=settings.concurrency,
        index=index_of(settings),
        dedup=settings.dedup,
    )


def index_of(settings: Settings) -> Index | None:
    """The index, if there is to be one."""
    return Index(settings.index, Registry(settings.registry)) if settings.index else None


class InProcess:
    """The installation that ``settings`` describe, to be worked on from here.

    Batches of files are run by ``executor``: any ``concurrent.futures.Executor`` whose
    processes run as this account, with this version of gobbler, and see the same directories;
    by threads of this process, or the cluster that ``settings`` name, if there is none given.
    ``settings.concurrency`` batches of one request run at a time.

    This process must run as the account that owns the registry. Use it as a context manager;
    an ``executor`` that was given is not shut down.

    Raises :class:`~gobbler.service.settings.Misconfigured` if the directories don't allow it.
    """

    def __init__(self, settings: Settings, executor: Executor | None = None) -> None:
        check_directories(settings)
        check_index(settings)
        os.umask(0o022)  # what is published is for everybody to read
        recover_after_crash(settings)
        self._own = None if executor is not None else make_executor(settings, settings.concurrency)
        chosen = self._own or make_executor(settings, settings.concurrency, executor)
        self._site: ServiceContext = make_service_context(settings, chosen)

    def carry_out(
        self,
        action: str,
        request: Mapping[str, object],
        *,
        progress: Progress | None = None,
        cancel: CancelToken | None = None,
    ) -> dict[str, object]:
        """Carry out a request of the account that this process runs as; fields of the answer.

        ``action`` and ``request`` are those of a request file, e.g. ``"validate_version"``
        and ``{"project": "p", "asset": "a", "version": "1"}``. ``progress`` follows
        the work, and ``cancel`` may end it.


        Raises :class:`~gobbler.errors.GobblerError` when the request is wrong, not allowed or
        fails; nothing has changed then. What is for administrators is allowed to those
        of the settings alone.
        """
        uid = os.geteuid()
        requester = Requester(uid, account_name(uid, "this process"))
        name = f"request-{action}-{secrets.token_hex(6)}"
        data = msgspec.json.encode(request)
        return carry_out(
            self._site,
            name,
            data,
            requester,
            progress=progress or NoProgress(),
            cancel=cancel or NeverCancelled(),
        )

    def close(self) -> None:
        """Shut down what was not given."""
        if self._own is not None:
            self._own.shutdown()

    def __enter__(self) -> InProcess:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
