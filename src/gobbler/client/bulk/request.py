"""One request of a sweep: as a job where it takes long, asked again where nobody answers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from gobbler.client.bulk.ledger import Attendance
from gobbler.client.bulk.run import SweepProgress
from gobbler.client.bulk.survey import Overseeing
from gobbler.client.errors import RequestFailed
from gobbler.client.parallel import Stop
from gobbler.client.retry import patiently
from gobbler.errors import Cancelled, GobblerError, Missing

T = TypeVar("T")


class Amount:
    """Files and bytes of which is told how many are done, and told anew if they are fewer."""

    def __init__(self, progress: SweepProgress, stop: Stop, attendance: Attendance) -> None:
        self._progress = progress
        self._stop = stop
        self._attendance = attendance
        self._files = self._bytes = 0

    def expect(self, files: int, size: int | None) -> None:
        """It is begun, or looked at, anew."""
        del files, size
        self.reach(0, 0)

    def advance(self, files: int, size: int) -> None:
        """So much more is done; raises if nobody wants it any more."""
        self._stop.check()
        self._attendance.renew()
        self.reach(self._files + files, self._bytes + size)

    def reach(self, files: int, size: int) -> None:
        """So much is done in all."""
        self._progress.advance(0, files - self._files, size - self._bytes)
        self._files, self._bytes = files, size


@dataclass(frozen=True)
class Carrier:
    """Has ``client`` ask, for up to ``patience`` seconds where there is no answer."""

    client: Overseeing
    progress: SweepProgress
    patience: float

    def ask(self, call: Callable[[], T], stop: Stop | None = None) -> T:
        """What ``call`` answers; what it does must be the same when it is done twice."""
        return patiently(call, stop or Stop(), self.progress.note, self.patience)

    def request(
        self, amount: Amount, stop: Stop, action: str, *, long: bool, **fields: object
    ) -> dict[str, object]:
        """Have ``action`` carried out; if it takes ``long``, as a job that tells ``amount``.

        A job goes on when the service is started anew; it is given up on ``stop``, Ctrl-C.
        """
        if self.client.url and not long:
            return self.ask(lambda: self.client.request(action, **fields), stop)
        job = self.ask(lambda: self.client.start(action, **fields), stop)
        try:
            return self.ask(lambda: job.wait(progress=amount, pause=stop.wait), stop)
        except Missing:
            try:
                job.state()
            except Missing:
                raise RequestFailed("the service has lost the request") from None
            raise
        except (Cancelled, KeyboardInterrupt):
            with contextlib.suppress(GobblerError):
                if not job.state().is_final:
                    job.cancel()
            raise
