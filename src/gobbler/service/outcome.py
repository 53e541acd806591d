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
from gobbler.service.metrics.metrics import CountedProgress, Metrics, outcome_label

logger = logging.getLogger("gobbler.requests")


class Outcome(NamedTuple):
    """The body of an answer, and the ``error`` that it reports, if there is one."""

    body: dict[str, object]
    error: GobblerError | None = None

    @property
    def status(self) -> int:
        """The HTTP status."""
        return 200 if self.error is None else self.error.status


class RequestHandler:
    """Carries out requests of ``service``. Each ends with an outcome, a log line and a count."""

    def __init__(self, service: ServiceContext, metrics: Metrics | None = None) -> None:
        self.service = service
        self._metrics = metrics or Metrics()

    def carry_out(
        self,
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
            with CountedProgress(self._metrics, progress) as counted:
                fields = carry_out(
                    self.service,
                    name,
                    data,
                    requester,
                    progress=counted,
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

    def log(self, name: str, user: str, outcome: Outcome, started: float) -> None:
        """Log and count how a request ended, which ``started`` then (monotonic seconds)."""
        seconds = time.monotonic() - started
        self._metrics.request(action_of(name) or "", outcome.error, seconds)
        logger.log(
            logging.INFO if outcome.status < 500 else logging.ERROR,
            "%s by %s: %d in %.3f s: %s",
            quoted(name),
            user,
            outcome.status,
            seconds,
            "done" if outcome.error is None else outcome.error.message,
        )

    def log_job(self, name: str, user: str, outcome: Outcome, started: float) -> None:
        """Do so for a job of the spool."""
        self._metrics.add("gobbler_jobs", 1, outcome_label(outcome.error))
        self.log(name, user, outcome, started)


def failed(error: GobblerError) -> Outcome:
    """The outcome of a request that fails with ``error``."""
    return Outcome(error.answer(), error)
