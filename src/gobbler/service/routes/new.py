"""``POST /new/{request}``: carry out a request in a thread, until the client disconnects.

Users share the places for requests, so nobody waits for the hundreds that somebody else sends.

With ``?wait=false`` the request becomes a job of the spool instead.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple
from urllib.parse import parse_qs, quote, unquote_to_bytes

from gobbler.actions.context import Requester
from gobbler.errors import Code, GobblerError, Refused, quoted, shortened
from gobbler.fs.os_errors import fault_from
from gobbler.model.progress import CancelFlag, NoProgress
from gobbler.model.requests import LARGE_REQUEST_BYTES, SEND_AGAIN
from gobbler.rules.places import Shares
from gobbler.service.http.answer import Answer
from gobbler.service.http.exchange import Exchange
from gobbler.service.outcome import Outcome, RequestHandler, failed
from gobbler.service.places import Places
from gobbler.service.responses import failure, json_answer
from gobbler.spool.job_store import JobRecord
from gobbler.spool.request_file import RequestFile, RequestIntake
from gobbler.spool.spool import Spool

SHARES = Shares(places=128, each=16, reserved=32, waiting=1024)
"""The requests that one HTTP worker carries out at a time, by the owner of the request file."""

LARGE_SHARES = Shares(places=8, each=4, reserved=1, waiting=16)
"""The same for large requests, since the service holds all of each in memory."""

QUICK_THREADS = 32
"""Number of request files that are read at a time, before anybody needs a place."""

THREADS = SHARES.places + LARGE_SHARES.places + QUICK_THREADS


logger = logging.getLogger(__name__)


class _Taken(NamedTuple):
    """A request that was taken, and waits for a place; ``started``: monotonic seconds."""

    name: str
    file: RequestFile
    started: float


def _is_job(query: bytes) -> bool:
    if not query:
        return False
    waits = parse_qs(query.decode("latin-1")).get("wait", ["true"])[-1]
    return waits.lower() in ("false", "0", "no")


class NewRoute:
    """Answers requests for changes; ``threads`` carry them out.

    A request file is read first. If its owner has a place free, the same thread carries it out.
    Otherwise the request waits without a thread, until its turn comes or its client leaves.
    """

    def __init__(
        self,
        requests: RequestHandler,
        intake: RequestIntake,
        threads: ThreadPoolExecutor,
        prefix: str,
    ) -> None:
        self._requests = requests
        self._intake = intake
        self._threads = threads
        self._route = f"{prefix}/new/"
        self._jobs = f"{prefix}/jobs/"
        self._spool = Spool(requests.service.staging, requests.service.durability)
        self._places: Places[int] = Places("requests", SHARES, None)
        self._large: Places[int] = Places("large requests", LARGE_SHARES, None)
        self._running: set[CancelFlag] = set()

    def cancel_all(self, reason: str) -> None:
        """Cancel every request that is being carried out, because the service stops."""
        for cancel in tuple(self._running):
            cancel.cancel(reason, code=Code.STOPPING, hint=SEND_AGAIN)

    def __call__(self, exchange: Exchange) -> None:
        """Answer one request: the thread that carries it out does."""
        cancel, gone = CancelFlag(), asyncio.Event()

        def leave() -> None:
            cancel.cancel("the client went away", code=Code.CLIENT_GONE, hint=SEND_AGAIN)
            gone.set()

        exchange.when_gone(leave)
        self._running.add(cancel)
        exchange.count_in_flight(1)
        begin = self._accept if _is_job(exchange.query) else self._begin
        self._threads.submit(self._work, exchange, cancel, gone, begin, exchange.raw_path, cancel)

    def _work(
        self,
        exchange: Exchange,
        cancel: CancelFlag,
        gone: asyncio.Event,
        work: Callable[..., Answer | _Taken],
        *arguments: object,
    ) -> None:
        """Answer with what ``work`` returns; in a thread."""
        try:
            answer = work(*arguments)
        except Exception:
            logger.exception("%s %s failed", exchange.method, shortened(exchange.path))
            answer = failure(GobblerError("the service failed; see its log"))
        if isinstance(answer, _Taken):
            exchange.call_in_loop(self._queue, exchange, cancel, gone, answer)
            return
        exchange.answer_in_thread(answer)
        exchange.call_in_loop(self._end, exchange, cancel)

    def _end(self, exchange: Exchange, cancel: CancelFlag) -> None:
        self._running.discard(cancel)
        exchange.count_in_flight(-1)

    def _queue(
        self, exchange: Exchange, cancel: CancelFlag, gone: asyncio.Event, taken: _Taken
    ) -> None:
        exchange.run(self._wait(exchange, cancel, gone, taken))

    def _begin(self, raw: bytes, cancel: CancelFlag) -> Answer | _Taken:
        """Take a request, and carry it out if there is a place for it now."""
        started = time.monotonic()
        name, file = self._take(raw, cancel)
        if isinstance(file, Outcome):
            return self._answer(name, "?", file, started)
        taken = _Taken(name, file, started)
        if not self._places_of(file).take(file.uid):
            return taken
        return self._carry_out(taken, cancel)

    async def _wait(
        self, exchange: Exchange, cancel: CancelFlag, gone: asyncio.Event, taken: _Taken
    ) -> None:
        """Carry out a request when it is its turn, unless its client has ``gone`` before."""
        file = taken.file
        turn = asyncio.ensure_future(self._places_of(file).wait(file.uid))
        leaving = asyncio.ensure_future(gone.wait())
        await asyncio.wait({turn, leaving}, return_when=asyncio.FIRST_COMPLETED)
        leaving.cancel()
        if not turn.done():
            turn.cancel()
            await asyncio.wait({turn})
        try:
            if turn.cancelled():
                cancel.check()
            turn.result()
        except GobblerError as error:
            refusal = self._answer(taken.name, file.user, failed(error), taken.started, file.data)
            exchange.answer(refusal)
            self._end(exchange, cancel)
            return
        self._threads.submit(self._work, exchange, cancel, gone, self._carry_out, taken, cancel)

    def _places_of(self, file: RequestFile) -> Places[int]:
        return self._large if len(file.data) > LARGE_REQUEST_BYTES else self._places

    def _carry_out(self, taken: _Taken, cancel: CancelFlag) -> Answer:
        """Carry out a request that has a place, and give that back."""
        name, file, started = taken
        try:
            outcome = self._requests.carry_out(
                name,
                file.data,
                Requester(file.uid, file.user),
                progress=NoProgress(),
                cancel=cancel,
            )
        finally:
            self._places_of(file).leave(file.uid)
        return self._answer(name, file.user, outcome, started, file.data)

    def _answer(
        self, name: str, user: str, outcome: Outcome, started: float, data: bytes = b""
    ) -> Answer:
        self._requests.log(name, user, outcome, started, data)
        if outcome.error is not None:
            return failure(outcome.error)
        return json_answer(outcome.body, outcome.status)

    def _accept(self, raw: bytes, cancel: CancelFlag) -> Answer:
        """Make a request a job of the spool."""
        started = time.monotonic()
        name, taken = self._take(raw, cancel)
        if isinstance(taken, Outcome):
            return self._answer(name, "?", taken, started)
        try:
            record = JobRecord.of(taken.uid, taken.user, name, taken.data)
            self._spool.accept(record)
        except GobblerError as error:
            return failure(error)
        except OSError as error:
            return failure(fault_from(error, f"accept request file {quoted(name)}"))
        address = self._jobs + quote(record.job)
        answer = json_answer({"status": "ACCEPTED", "job": record.job, "address": address}, 202)
        return answer.with_headers({"location": address})

    def _take(self, raw: bytes, cancel: CancelFlag) -> tuple[str, RequestFile | Outcome]:
        name = raw.decode("latin-1")
        try:
            cancel.check()  # the client may have left before there was a thread for it
            name = unquote_to_bytes(raw).decode().removeprefix(self._route)
            return name, self._intake.take(name)
        except UnicodeDecodeError:
            return name, failed(
                Refused("the name of the request file is not valid UTF-8", code=Code.INVALID_NAME)
            )
        except GobblerError as error:
            return name, failed(error)
        except OSError as error:
            return name, failed(fault_from(error, f"take request file {quoted(name)}"))
