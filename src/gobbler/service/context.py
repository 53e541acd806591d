"""The service context that settings describe: registry, rules, executor and index.

:class:`InProcess` carries out requests in this process, with no service: for administrators and
tests. The checks, and the result on disk, are those of a service, which may run beside.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from concurrent.futures import Executor

import msgspec

from gobbler.actions import carry_out
from gobbler.actions.context import Requester, ServiceContext
from gobbler.cluster.remote_executor import make_executor
from gobbler.fs.open import account_name
from gobbler.index import Index
from gobbler.model.progress import CancelToken, NeverCancelled, NoProgress, Progress
from gobbler.registry.discarded import remove_discarded
from gobbler.registry.registry import Registry
from gobbler.service.cleanup import recover_after_crash
from gobbler.service.settings import Settings, check_directories, check_index


def executor_of(settings: Settings, threads: int, executor: Executor | None = None) -> Executor:
    """The executor that ``settings`` describe, or ``executor`` if it is given."""
    directories = (settings.staging, settings.registry)
    return make_executor(
        directories,
        threads=threads,
        processes=settings.processes,
        dask=settings.dask,
        executor=executor,
    )


def make_service_context(settings: Settings, executor: Executor) -> ServiceContext:
    """The context of a service with these ``settings``; ``executor`` runs its batches."""
    registry = Registry(settings.registry)
    return ServiceContext(
        staging=settings.staging,
        registry=registry,
        admins=settings.admins,
        whitelist=settings.whitelist,
        spoofing=dict(settings.spoofing),
        durability=settings.durability,
        executor=executor,
        width=settings.concurrency,
        index=Index(settings.index, registry) if settings.index else None,
        dedup=settings.dedup,
        authorship=settings.authorship,
    )


class InProcess:
    """Carries out requests in this process, as a service with these ``settings`` would.

    Batches of files run on ``executor``: any ``concurrent.futures.Executor`` whose processes run
    as this account, with this version of gobbler, and see the same directories. Without one, they
    run in threads of this process, or on the cluster that ``settings`` name.
    ``settings.concurrency`` batches of one request run at a time.

    This process must run as the account that owns the registry. Use it as a context manager; it
    does not shut down an ``executor`` that it was given.

    Raises :class:`~gobbler.errors.Misconfigured` if the directories don't allow it.
    """

    def __init__(self, settings: Settings, executor: Executor | None = None) -> None:
        check_directories(settings)
        check_index(settings)
        os.umask(0o022)  # everybody must be able to read what is published
        recover_after_crash(settings)
        self._own = None if executor is not None else executor_of(settings, settings.concurrency)
        chosen = self._own or executor_of(settings, settings.concurrency, executor)
        self._service = make_service_context(settings, chosen)

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
        and ``{"project": "p", "asset": "a", "version": "1"}``. ``progress`` follows the work,
        and ``cancel`` may end it. Only an administrator in the settings may do what
        administrators may.

        Raises :class:`~gobbler.errors.GobblerError` if the request is wrong, not allowed or
        fails; nothing has changed then.
        """
        uid = os.geteuid()
        requester = Requester(uid, account_name(uid, "this process"))
        name = f"request-{action}-{secrets.token_hex(6)}"
        try:
            return carry_out(
                self._service,
                name,
                msgspec.json.encode(request),
                requester,
                progress=progress or NoProgress(),
                cancel=cancel or NeverCancelled(),
            )
        finally:
            remove_discarded(self._service.registry.root)  # there may be no service to do it

    def close(self) -> None:
        """Shut down the executor, unless it was given."""
        if self._own is not None:
            self._own.shutdown()

    def __enter__(self) -> InProcess:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
