"""The outcome of a request: every result and error becomes an answer and a log line."""

from __future__ import annotations

import logging
import time
from typing import NamedTuple

from gobbler.actions import carry_out
from gobbler.actions.context import Requester, ServiceContext
from gobbler.errors import Fault, GobblerError, quoted
from gobbler.fs.os_errors import fault_from
from gobbler.model.progress import CancelToken, Progress
from gobbler.model.requests import action_of

logger = logging.getLogger("gobbler.requests")


class Outcome(NamedTuple):
    """The body of an answer, and the ``error`` that it reports, if there is one."""

    body: dict[str, object]
    error: GobblerError | None = None

    @property
    def status(self) -> int:
        """The HTTP status."""
        return 200 if self.error is None else self.error.status


def outcome_of(
    service: ServiceContext,
    name: str,
    data: bytes,
    requester: Requester,
    *,
    progress: Progress,
    cancel: CancelToken,
    workspace_name: str = "",
) -> Outcome:
    """Carry out the request in the file ``name``; see :func:`gobbler.actions.carry_out`."""
    try:
        fields = carry_out(
            service,
            name,
            data,
            requester,
            progress=progress,
            cancel=cancel,
            workspace_name=workspace_name,
        )
    except GobblerError as error:
        return failed(error)
    except OSError as error:
        logger.exception("%s failed", quoted(name))
        return failed(fault_from(error, f"carry out {quoted(action_of(name) or name)}"))
    except Exception:
        logger.exception("%s failed", quoted(name))
        return failed(Fault("the service failed; see its log"))
    for what in ("ignored", "warnings"):
        if found := fields.get(what):
            logger.warning("%s by %s: %s: %s", quoted(name), requester.name, what, found)
    return Outcome({"status": "SUCCESS", **fields})


def failed(error: GobblerError) -> Outcome:
    """The outcome of a request that fails with ``error``."""
    return Outcome(error.answer(), error)


def log_outcome(name: str, user: str, outcome: Outcome, started: float) -> None:
    """Log how a request ended, and how long it took since ``started`` (monotonic seconds)."""
    logger.log(
        logging.INFO if outcome.status < 500 else logging.ERROR,
        "%s by %s: %d in %.3f s: %s",
        quoted(name),
        user,
        outcome.status,
        time.monotonic() - started,
        "done" if outcome.error is None else outcome.error.message,
    )
