"""``POST /new/{request}``: carry out a request in a thread, until the client disconnects.

Users share the places for requests, so nobody waits for the hundreds that somebody else sends.

With ``?wait=false`` the request becomes a job of the spool instead.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple
from urllib.parse import parse_qs, quote, unquote_to_bytes

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gobbler.actions.context import Requester
from gobbler.errors import Code, GobblerError, Refused, quoted
from gobbler.fs.os_errors import fault_from
from gobbler.model.progress import CancelFlag, NoProgress
from gobbler.model.requests import LARGE_REQUEST_BYTES, SEND_AGAIN
from gobbler.rules.places import Shares
from gobbler.service.outcome import Outcome, RequestHandler, failed
from gobbler.service.places import Places
from gobbler.service.responses import disconnected, failure, json_answer
from gobbler.spool.job_store import JobRecord
from gobbler.spool.request_file import RequestFile, RequestIntake
from gobbler.spool.spool import Spool

WATCH_AFTER = 0.1
"""Seconds after which the service starts to watch whether the client is still connected."""


def _has_body(scope: Scope) -> bool:
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
        for name, value in scope["headers"]
    )


SHARES = Shares(places=128, each=16, reserved=32, waiting=1024)
"""The requests that one HTTP worker carries out at a time, by the owner of the request file."""

LARGE_SHARES = Shares(places=8, each=4, reserved=1, waiting=16)
"""The same for large requests, since the service holds all of each in memory."""

QUICK_THREADS = 32
"""Number of request files that are read at a time, before anybody needs a place."""

THREADS = SHARES.places + LARGE_SHARES.places + QUICK_THREADS


class _Taken(NamedTuple):
    """A request that was taken, and waits for a place; ``started``: monotonic seconds."""

    name: str
    file: RequestFile
    started: float


class _Client:
    """The client of a request, which may leave; then ``cancel`` is set."""

    def __init__(self, receive: Receive) -> None:
        self.cancel = CancelFlag()
        self._receive = receive
        self._watch: asyncio.Task[None] | None = None

    def watch(self) -> asyncio.Task[None]:
        """Watch whether the client is still connected; the task ends when it is not."""
        if self._watch is None:
            self._watch = asyncio.get_running_loop().create_task(self._left())
        return self._watch

    async def _left(self) -> None:
        await disconnected(self._receive)
        self.cancel.cancel("the client went away", code=Code.CLIENT_GONE, hint=SEND_AGAIN)

    def forget(self) -> None:
        """Watch no longer."""
        if self._watch is not None:
            self._watch.cancel()


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

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        client = _Client(receive)
        self._running.add(client.cancel)
        loop = asyncio.get_running_loop()
        answer = self._accept if _is_job(scope["query_string"]) else self._begin
        # Most requests end before; but a body must be read at once.
        timer = loop.call_later(0 if _has_body(scope) else WATCH_AFTER, client.watch)
        try:
            response = await loop.run_in_executor(
                self._threads, answer, scope["raw_path"], client.cancel
            )
            if isinstance(response, _Taken):
                response = await self._wait(response, client)
        finally:
            timer.cancel()
            client.forget()
            self._running.discard(client.cancel)
        await response(scope, receive, send)

    def _begin(self, raw: bytes, cancel: CancelFlag) -> Response | _Taken:
        """Take a request, and carry it out if there is a place for it now."""
        started = time.monotonic()
        name, file = self._take(raw, cancel)
        if isinstance(file, Outcome):
            return self._answer(name, "?", file, started)
        taken = _Taken(name, file, started)
        if not self._places_of(file).take(file.uid):
            return taken
        return self._carry_out(taken, cancel)

    async def _wait(self, taken: _Taken, client: _Client) -> Response:
        """Carry out a request when it is its turn."""
        file = taken.file
        turn = asyncio.ensure_future(self._places_of(file).wait(file.uid))
        gone = client.watch()
        await asyncio.wait({turn, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not turn.done():
            turn.cancel()
            await asyncio.wait({turn})
        try:
            if turn.cancelled():
                client.cancel.check()
            turn.result()
        except GobblerError as error:
            return self._answer(taken.name, file.user, failed(error), taken.started, file.data)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._carry_out, taken, client.cancel)

    def _places_of(self, file: RequestFile) -> Places[int]:
        return self._large if len(file.data) > LARGE_REQUEST_BYTES else self._places

    def _carry_out(self, taken: _Taken, cancel: CancelFlag) -> Response:
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
    ) -> Response:
        self._requests.log(name, user, outcome, started, data)
        if outcome.error is not None:
            return failure(outcome.error)
        return json_answer(outcome.body, outcome.status)

    def _accept(self, raw: bytes, cancel: CancelFlag) -> Response:
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
        response = json_answer({"status": "ACCEPTED", "job": record.job, "address": address}, 202)
        response.headers["location"] = address
        return response

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
