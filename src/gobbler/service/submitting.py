"""``POST /new/{request}``: carried out in a thread, given up when the client goes away."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import unquote_to_bytes

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gobbler.actions import carry_out
from gobbler.actions.site import Site
from gobbler.disk.naming import fault_in
from gobbler.errors import Cancelled, Fault, GobblerError, Refused, quoted
from gobbler.requests import action_of
from gobbler.service.answers import failure, json_answer, told
from gobbler.service.asgi import disconnected
from gobbler.service.intake import Intake

logger = logging.getLogger("gobbler.requests")


class HttpWatcher:
    """Carries the word that a request is no longer wanted into the thread that works on it."""

    def __init__(self) -> None:
        self._reason = ""
        self._stop = threading.Event()

    def give_up(self, reason: str) -> None:
        """Make the next check raise."""
        self._reason = reason
        self._stop.set()

    def expect(self, files: int, size: int) -> None:
        """Progress is not told over a plain POST."""

    def advance(self, files: int, size: int) -> None:
        """Progress is not told over a plain POST."""

    def check(self) -> None:
        """Raise :class:`~gobbler.errors.Cancelled` once the request was given up."""
        if self._stop.is_set():
            raise Cancelled(self._reason, hint="Nothing was changed; send the request again.")


class Submitting:
    """Answers requests for changes."""

    def __init__(self, site: Site, intake: Intake, threads: ThreadPoolExecutor, route: str) -> None:
        self._site = site
        self._intake = intake
        self._threads = threads
        self._route = route
        self._running: set[HttpWatcher] = set()

    def give_up_all(self, reason: str) -> None:
        """Give up every request that is being carried out."""
        for watcher in tuple(self._running):
            watcher.give_up(reason)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        watcher = HttpWatcher()
        self._running.add(watcher)
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(self._threads, self._carry_out, scope["raw_path"], watcher)
        gone = asyncio.ensure_future(disconnected(receive))
        try:
            waited: set[asyncio.Future[Any]] = {work, gone}
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                watcher.give_up("the client went away")
            response = await work
        finally:
            gone.cancel()
            self._running.discard(watcher)
        await response(scope, receive, send)

    def _carry_out(self, raw: bytes, watcher: HttpWatcher) -> Response:
        started = time.monotonic()
        name, user = raw.decode("latin-1"), "?"
        try:
            name = unquote_to_bytes(raw).decode().removeprefix(self._route)
            requester, data = self._intake.take(name)
            user = requester.name
            fields = carry_out(self._site, name, data, requester, watcher)
            response, outcome = json_answer({"status": "SUCCESS", **fields}), "done"
        except UnicodeDecodeError:
            refusal = Refused("the name of the request file is not valid UTF-8")
            response, outcome = failure(refusal), refusal.reason
        except GobblerError as error:
            response, outcome = failure(error), told(error)
        except OSError as error:
            fault = fault_in(error, f"carry out {quoted(action_of(name) or name)}")
            logger.exception("%s failed", quoted(name))
            response, outcome = failure(fault), fault.reason
        except Exception:
            logger.exception("%s failed", quoted(name))
            fault = Fault("the service failed; its log tells more")
            response, outcome = failure(fault), fault.reason
        logger.log(
            logging.INFO if response.status_code < 500 else logging.ERROR,
            "%s by %s: %d in %.3f s: %s",
            quoted(name),
            user,
            response.status_code,
            time.monotonic() - started,
            outcome,
        )
        return response
