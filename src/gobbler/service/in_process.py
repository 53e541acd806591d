"""Requests carried out in this process, with no service: for administrators and tests.

They are carried out as a service would, with the same checks and on disk the same; services
of the registry may run beside.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from concurrent.futures import Executor

import msgspec

from gobbler.actions import carry_out
from gobbler.actions.context import Requester, ServiceContext
from gobbler.fs.open import account_name
from gobbler.model.progress import CancelToken, NeverCancelled, NoProgress, Progress
from gobbler.service.cleanup import sweep
from gobbler.service.context import make_executor, make_service_context
from gobbler.service.index_updates import check_index
from gobbler.service.settings import Settings, check_directories


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
        sweep(settings)
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
