"""One request of a bulk run: sent as a job if it takes long, sent again if there is no answer."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from gobbler.client.bulk.ledger import Claims
from gobbler.client.bulk.run import BulkProgress
from gobbler.client.bulk.targets import BulkService, exists
from gobbler.client.errors import RequestFailed, RequestForbidden, RequestMissing
from gobbler.client.parallel import Stop
from gobbler.client.retry import call_with_retries
from gobbler.errors import Cancelled, Code, GobblerError, Missing, Unreachable

T = TypeVar("T")


class TargetProgress:
    """The progress of one target within a bulk run; it starts over when its job does."""

    def __init__(self, progress: BulkProgress, stop: Stop, claims: Claims) -> None:
        self._progress = progress
        self._stop = stop
        self._claims = claims
        self._files = self._bytes = 0

    def expect(self, files: int, size: int | None) -> None:
        """Start over: the work begins, or begins again."""
        del files, size
        self.reach(0, 0)

    def advance(self, files: int, size: int) -> None:
        """Add to what is done; :class:`~gobbler.errors.Cancelled` if the run was stopped."""
        self._stop.check()
        self._claims.renew()
        self.reach(self._files + files, self._bytes + size)

    def reach(self, files: int, size: int) -> None:
        """Set what is done in all."""
        self._progress.advance(files - self._files, size - self._bytes)
        self._files, self._bytes = files, size


@dataclass(frozen=True)
class Requester:
    """Sends requests to ``service``, and again while none answers."""

    service: BulkService
    progress: BulkProgress
    retry_seconds: float

    def ask(self, call: Callable[[], T], stop: Stop | None = None) -> T:
        """Return what ``call`` returns; it must do no harm when it is called twice."""
        return call_with_retries(call, stop or Stop(), self.progress.note, self.retry_seconds)

    def request(
        self, target: TargetProgress, stop: Stop, action: str, *, long: bool, **fields: object
    ) -> dict[str, object]:
        """Send ``action`` and return the answer; a ``long`` one as a job that reports progress.

        A job survives a restart of the service. It is cancelled on ``stop`` and Ctrl-C.
        """
        if self.service.url and not long:
            return self.ask(lambda: self.service.request(action, **fields), stop)
        job = self.ask(lambda: self.service.start(action, **fields), stop)
        try:
            return self.ask(lambda: job.wait(progress=target, pause=stop.wait), stop)
        except Missing:
            try:
                job.state()
            except Missing:
                raise RequestFailed(
                    f"the service does not know job {job.name} any more",
                    code=Code.JOB_NOT_FOUND,
                    hint="Run the same command again.",
                ) from None
            raise
        except (Cancelled, KeyboardInterrupt):
            with contextlib.suppress(GobblerError):
                if not job.state().is_final:
                    job.cancel()
            raise

    def was_deleted(self, error: RequestFailed, *names: str) -> bool:
        """Whether ``error`` is because the project, asset or version no longer exists."""
        return isinstance(error, RequestMissing) and not exists(self.service, *names)


def problems_in(error: RequestFailed) -> tuple[str, ...]:
    """The problems of the target of a request.

    Raises ``error`` if it is not about the target: no service answered, or the user may not
    send such requests at all.
    """
    if isinstance(error, RequestForbidden | Unreachable):
        raise error
    return tuple(error.problems) or (error.reason,)
