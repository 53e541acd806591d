"""HTTP: time limits, and answers as values or errors.

A read is tried again when the connection breaks, see :mod:`gobbler.client.retry`. A ``POST``
is never sent twice once it may have reached the service: a request is carried out at most once.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from gobbler.client import errors
from gobbler.client.errors import error_from_answer, request_failed
from gobbler.client.response import PIECE_BYTES, Response
from gobbler.client.retry import READ_ATTEMPTS, read_pause
from gobbler.client.service_url import check_url, is_loopback, shown_url
from gobbler.client.transport_errors import NOT_A_SERVICE
from gobbler.errors import Code, shortened

T = TypeVar("T")

READ_SECONDS = 120.0
"""Seconds that a read waits for the next byte."""

ANSWER_LIMIT = 1 << 30
"""Largest answer that is kept in memory, in bytes: a manifest or listing of millions of files."""

ERROR_LIMIT = 1 << 20
"""Largest answer with an error, in bytes."""


class Answer(NamedTuple):
    """The answer to a request: its status, its headers, whose names have no case, and its body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Http:
    """A service at ``url``. If ``offline``, all requests fail at once, as if no service answered.

    Threads may share it, it may be used in a forked child, and it can be pickled: connections
    are opened by each process when it needs them.
    """

    def __init__(self, url: str, *, offline: bool = False) -> None:
        self.url = check_url(url)
        self.shown = shown_url(self.url)  # for messages
        self._offline = offline
        # A proxy of the site can't reach what runs on this machine.
        self._use_environment = not is_loopback(self.url)

    def __repr__(self) -> str:
        return f"Http({self.shown!r})"

    def get(self, endpoint: str, kind: type[T], params: Mapping[str, str] | None = None) -> T:
        """The JSON answer to ``GET endpoint``, as a ``kind``."""
        return _decoded(self.answer(endpoint, params=params), kind, self.shown + endpoint)

    def read(self, path: str) -> bytes:
        """The content of the registry's file ``path``, which should be small."""
        return self.answer(fetch_endpoint(path)).body

    def read_start(self, path: str, count: int) -> bytes:
        """The content of the registry's file ``path``; of a larger one the first ``count`` bytes.

        If the connection breaks, this reads again.
        """
        return self.answer(fetch_endpoint(path), limit=count, truncate=True).body

    def answer(
        self,
        endpoint: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        accept: tuple[int, ...] = (),
        limit: int | None = None,
        truncate: bool = False,
    ) -> Answer:
        """The answer to ``GET endpoint``; read again if the connection breaks.

        ``accept`` lists statuses from 300 on that are not errors. If the body has more than
        ``limit`` bytes (default: :data:`ANSWER_LIMIT`), raises
        :class:`~gobbler.client.errors.RequestFailed`, or with ``truncate`` returns the first.
        """
        for attempt in range(1, READ_ATTEMPTS + 1):
            try:
                with self.stream(
                    endpoint, params=params, headers=headers, accept=accept
                ) as response:
                    return _answer(response, limit, self.shown + endpoint, truncate=truncate)
            except errors.BrokenOff:
                if attempt == READ_ATTEMPTS:
                    raise
                time.sleep(read_pause(attempt))
        raise AssertionError("the last attempt returns or raises")

    def post(self, endpoint: str) -> dict[str, Any]:
        """The JSON answer to ``POST endpoint``, however long that takes."""
        url = self.shown + endpoint
        with self._open("POST", endpoint, seconds=None) as response:
            return _decoded(_answer(response, None, url), dict[str, Any], url)

    @contextlib.contextmanager
    def stream(
        self,
        endpoint: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        accept: tuple[int, ...] = (),
    ) -> Iterator[Response]:
        """The answer to ``GET endpoint``; read its body within the block.

        ``accept`` lists statuses from 300 on that are not errors.
        """
        if params:
            # Bytes of a name that is not UTF-8 are sent as they are; the service refuses it.
            endpoint += "?" + urlencode(params, errors="surrogateescape")
        with self._open(
            "GET", endpoint, headers=headers, accept=accept, seconds=READ_SECONDS
        ) as response:
            yield response

    @contextlib.contextmanager
    def _open(
        self,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str] | None = None,
        accept: tuple[int, ...] = (),
        seconds: float | None,
    ) -> Iterator[Response]:
        """The answer to a request for ``target``, which is encoded; never a redirection."""
        if self._offline:
            raise errors.NoAnswer(
                f"offline: no request is sent to {self.shown}",
                code=Code.OFFLINE,
                hint="Leave out --offline, unset GOBBLER_OFFLINE, or read what the cache has: "
                "gobbler cache ls",
            )
        with contextlib.ExitStack() as opened:
            response = self._direct(opened, method, target, headers, seconds)
            if response is None:
                response = self._through_session(opened, method, target, headers, seconds)
            if response.status_code >= 300 and response.status_code not in accept:
                shown = self.shown + target.partition("?")[0]
                raise _failure(response, method, shown)
            yield response

    def _direct(
        self,
        opened: contextlib.ExitStack,
        method: str,
        target: str,
        headers: Mapping[str, str] | None,
        seconds: float | None,
    ) -> Response | None:
        """The answer on a direct connection; ``None`` where that can't be had."""
        from gobbler.client import direct

        address = direct.plain_address(self.url)
        if address is None or (self._use_environment and direct.environment_applies()):
            return None
        asked = direct.answering(
            address, method, target, headers, seconds=seconds, shown=self.shown
        )
        response = opened.enter_context(asked)
        if method == "GET" and response.status_code in direct.REDIRECTIONS:
            return None
        return response

    def _through_session(
        self,
        opened: contextlib.ExitStack,
        method: str,
        target: str,
        headers: Mapping[str, str] | None,
        seconds: float | None,
    ) -> Response:
        from gobbler.client import session

        return opened.enter_context(
            session.answering(
                self.url + target,
                method,
                headers,
                use_environment=self._use_environment,
                seconds=seconds,
                shown=self.shown,
            )
        )


def fetch_endpoint(path: str) -> str:
    """The endpoint of the registry's file ``path``."""
    return "/fetch/" + encoded(path)


def encoded(path: str) -> str:
    """``path`` with every component percent-encoded.

    Bytes of a name that is not UTF-8 are sent as they are; the service refuses it.
    """
    return quote(path, safe="/", errors="surrogateescape")


def _failure(response: Response, method: str, url: str) -> Exception:
    """The error for a response that is not 2xx."""
    status = response.status_code
    content_type = response.headers.get("Content-Type", "").partition(";")[0].strip()
    body = _answer(response, ERROR_LIMIT, url).body
    with contextlib.suppress(msgspec.DecodeError, UnicodeError, RecursionError, KeyError):
        answer = msgspec.json.decode(body, type=dict[str, Any])
        msgspec.convert(answer["reason"], str)
        error = error_from_answer(status, answer)
        error.retry_after = _retry_after(response)
        return error
    found = f"HTTP {status} {shortened(response.reason or '')}".rstrip()
    text = body.decode("utf-8", "replace").strip()
    if content_type == "text/plain" and text:
        found += f", {text[:500]!r}"
    hint = ""
    if 300 <= status < 400 and "Location" in response.headers:
        address = shortened(shown_url(response.headers["Location"]))
        hint = f"It redirects to {address}; use that address."
    elif content_type == "text/html":
        hint = f"The answer is a web page. {NOT_A_SERVICE}"
    return request_failed(status, f"{method} {url} failed: {found}", hint=hint)


def _retry_after(response: Response) -> float | None:
    """The seconds of the header, as far as they are plain digits; dates are not used."""
    value = response.headers.get("Retry-After", "")
    return float(value) if value.isascii() and value.isdigit() and len(value) < 10 else None


def _answer(response: Response, limit: int | None, url: str, *, truncate: bool = False) -> Answer:
    """The answer in a response; an error if its body is longer than ``limit`` bytes.

    What a proxy compressed counts as it is when it is unpacked.
    """
    parts = []
    left = limit = ANSWER_LIMIT if limit is None else limit
    for part in response.iter_content(PIECE_BYTES):
        if left < len(part):
            if truncate:
                parts.append(part[:left])
                break
            raise request_failed(
                500,
                f"the answer of {url} has more than {limit} bytes",
                code=Code.INVALID_ANSWER,
                hint=NOT_A_SERVICE,
            )
        left -= len(part)
        parts.append(part)
    return Answer(response.status_code, response.headers, b"".join(parts))


def _decoded(answered: Answer, kind: type[T], url: str) -> T:
    """The JSON of an answer, as a ``kind``."""
    try:
        answer: T = msgspec.json.decode(answered.body, type=kind)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        content_type = shortened(answered.headers.get("Content-Type") or "unknown")
        raise request_failed(
            500,
            f"the answer of {url} can't be read: {error} (its type is {content_type})",
            code=Code.INVALID_ANSWER,
            hint=NOT_A_SERVICE,
        ) from None
    return answer
