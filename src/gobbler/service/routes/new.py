"""``POST /new/{request}``: carry out a request in a thread, until the client disconnects.

With ``?wait=false`` the request becomes a job of the spool instead.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs, quote, unquote_to_bytes

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gobbler.actions.context import Requester
from gobbler.errors import Code, GobblerError, Refused, quoted
from gobbler.fs.os_errors import fault_from
from gobbler.model.progress import CancelFlag, NoProgress
from gobbler.model.requests import SEND_AGAIN
from gobbler.service.outcome import Outcome, RequestHandler, failed
from gobbler.service.responses import disconnected, json_answer
from gobbler.spool.job_store import JobRecord
from gobbler.spool.request_file import RequestFile, RequestIntake
from gobbler.spool.spool import Spool

WATCH_AFTER = 0.1
"""Seconds after which the service starts to watch whether the client is still connected."""


async def _cancel_if_disconnected(receive: Receive, cancel: CancelFlag) -> None:
    await disconnected(receive)
    cancel.cancel("the client went away", code=Code.CLIENT_GONE, hint=SEND_AGAIN)


def _has_body(scope: Scope) -> bool:
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
        for name, value in scope["headers"]
    )


class NewRoute:
    """Answers requests for changes."""

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
        self._running: set[CancelFlag] = set()

    def cancel_all(self, reason: str) -> None:
        """Cancel every request that is being carried out, because the service stops."""
        for cancel in tuple(self._running):
            cancel.cancel(reason, code=Code.STOPPING, hint=SEND_AGAIN)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        cancel = CancelFlag()
        self._running.add(cancel)
        loop = asyncio.get_running_loop()
        waits = parse_qs(scope["query_string"].decode("latin-1")).get("wait", ["true"])[-1]
        answer = self._accept if waits.lower() in ("false", "0", "no") else self._carry_out
        work = loop.run_in_executor(self._threads, answer, scope["raw_path"], cancel)
        watching: list[asyncio.Task[None]] = []

        def watch() -> None:
            watching.append(loop.create_task(_cancel_if_disconnected(receive, cancel)))

        # Most requests end before; but a body must be read at once.
        timer = loop.call_later(0 if _has_body(scope) else WATCH_AFTER, watch)
        try:
            response = await work
        finally:
            timer.cancel()
            for task in watching:
                task.cancel()
            self._running.discard(cancel)
        await response(scope, receive, send)

    def _carry_out(self, raw: bytes, cancel: CancelFlag) -> Response:
        """Carry out a request now."""
        started = time.monotonic()
        name, taken = self._take(raw)
        if isinstance(taken, Outcome):
            outcome, user, data = taken, "?", b""
        else:
            user, data = taken.user, taken.data
            outcome = self._requests.carry_out(
                name,
                taken.data,
                Requester(taken.uid, user),
                progress=NoProgress(),
                cancel=cancel,
            )
        self._requests.log(name, user, outcome, started, data)
        return json_answer(outcome.body, outcome.status)

    def _accept(self, raw: bytes, cancel: CancelFlag) -> Response:
        """Make a request a job of the spool."""
        del cancel
        started = time.monotonic()
        name, taken = self._take(raw)
        if isinstance(taken, Outcome):
            self._requests.log(name, "?", taken, started, b"")
            return json_answer(taken.body, taken.status)
        try:
            record = JobRecord.of(taken.uid, taken.user, name, taken.data)
            self._spool.accept(record)
        except GobblerError as error:
            return json_answer(error.answer(), error.status)
        except OSError as error:
            fault = fault_from(error, f"accept request file {quoted(name)}")
            return json_answer(fault.answer(), fault.status)
        address = self._jobs + quote(record.job)
        response = json_answer({"status": "ACCEPTED", "job": record.job, "address": address}, 202)
        response.headers["location"] = address
        return response

    def _take(self, raw: bytes) -> tuple[str, RequestFile | Outcome]:
        name = raw.decode("latin-1")
        try:
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
