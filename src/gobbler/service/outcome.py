"""The outcome of a request: every result and error becomes an answer and a log line."""

from __future__ import annotations

import logging
import time
from typing import NamedTuple

from gobbler.actions import carry_out
from gobbler.actions.context import Requester, ServiceContext
from gobbler.errors import Fault, GobblerError, quoted, shortened
from gobbler.fs.memory import release_soon
from gobbler.fs.os_errors import fault_from, is_of_the_disk
from gobbler.fs.reserve import is_full
from gobbler.model.progress import CancelToken, Progress
from gobbler.model.requests import action_of, subject_of
from gobbler.service.log_format import fields
from gobbler.service.metrics.metrics import CountedProgress, Metrics, outcome_label

logger = logging.getLogger("gobbler.requests")


RELIEF = "Administrators can delete versions, assets and projects on a full disk, too."


LONG_WORK = 0.1
"""Seconds after which a request may leave much memory unused."""


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
        began = time.monotonic()
        try:
            with CountedProgress(self._metrics, progress) as counted:
                answer = carry_out(
                    self.service,
                    name,
                    data,
                    requester,
                    progress=counted,
                    cancel=cancel,
                    workspace_name=workspace_name,
                )
        except GobblerError as error:
            return failed(_advised(error))
        except OSError as error:
            if not is_of_the_disk(error):
                logger.exception("%s failed", quoted(name))
            fault = fault_from(error, f"carry out {quoted(action_of(name) or name)}")
            return failed(_advised(fault))
        except Exception:
            logger.exception("%s failed", quoted(name))
            return failed(Fault("the service failed; see its log"))
        finally:
            if time.monotonic() - began > LONG_WORK:
                release_soon()
        for what in ("ignored", "warnings"):
            if found := answer.get(what):
                logger.warning("%s by %s: %s: %s", quoted(name), requester.name, what, found)
        return Outcome({"status": "SUCCESS", **answer})

    def log(self, name: str, user: str, outcome: Outcome, started: float, data: bytes) -> None:
        """Log and count how a request ended, which ``started`` then (monotonic seconds).

        ``data`` is its content, or nothing. It tells what the request was about, and for whom.
        """
        seconds = time.monotonic() - started
        error, action = outcome.error, action_of(name) or ""
        self._metrics.request(action, error, seconds)
        subject = subject_of(data)
        about = f"{quoted(subject.address)}: " if subject.address else ""
        logger.log(
            logging.INFO if outcome.status < 500 else logging.ERROR,
            "%s by %s%s: %d in %.3f s: %s%s",
            quoted(name),
            user,
            f" as {quoted(subject.spoof)}" if subject.spoof else "",
            outcome.status,
            seconds,
            about,
            "done" if error is None else error.message,
            extra=fields(
                request=shortened(name),
                action=shortened(action),
                user=user,
                spoof=subject.spoof,
                project=subject.project,
                asset=subject.asset,
                version=subject.version,
                job=subject.job,
                status=outcome.status,
                seconds=round(seconds, 3),
                code=None if error is None else str(error.code),
            ),
        )

    def log_job(self, name: str, user: str, outcome: Outcome, started: float, data: bytes) -> None:
        """Do so for a job of the spool."""
        self._metrics.add("gobbler_jobs", 1, outcome_label(outcome.error))
        self.log(name, user, outcome, started, data)


def _advised(error: GobblerError) -> GobblerError:
    """The same error, which says what helps if a disk of the service is full."""
    if is_full(error):
        error.hint = f"{error.hint} {RELIEF}".strip()
    return error


def failed(error: GobblerError) -> Outcome:
    """The outcome of a request that fails with ``error``."""
    return Outcome(error.answer(), error)
