"""Errors between a client and a service, made from the status and the code of an answer.

Each class is one of :mod:`gobbler.errors`, with its status, exit code and hint, and also the
exception that code written with ``requests`` catches:

=====================  ===================================================
class                  also is
=====================  ===================================================
RequestFailed          ``requests.HTTPError``
NoAnswer               ``requests.ConnectionError``, ``errors.Unreachable``
NotConnected           the same; no connection was made, so nothing was sent
BrokenOff              the same; part of the answer arrived
TooSlow                the same, and ``requests.Timeout``
NotThere               ``FileNotFoundError``, ``errors.Missing``
=====================  ===================================================
"""

from __future__ import annotations

import errno
import re
from collections.abc import Mapping
from typing import ClassVar

import requests

from gobbler.errors import (
    CancelledByOwner,
    Code,
    Forbidden,
    GobblerError,
    Missing,
    Refused,
    Unreachable,
    quoted,
)
from gobbler.model.names import VersionKey


class RequestFailed(GobblerError, requests.HTTPError):
    """The service answered with an error; ``str()`` of this is the reason that it gives.

    Attributes:
        retry_after: Seconds after which it wants the request again, if it names a number.
    """

    retry_after: float | None = None

    @property
    def problems(self) -> list[str]:
        """Everything that is wrong, where the service lists it: with ``validate_version``."""
        listed = self.fields.get("problems")
        return [str(problem) for problem in listed] if isinstance(listed, list) else []


class RequestRefused(RequestFailed, Refused):
    """The service answered 400: the request is wrong."""


class RequestForbidden(RequestFailed, Forbidden):
    """The service answered 403: the user may not do that."""


class RequestMissing(RequestFailed, Missing):
    """The service answered 404: something that the request names is not there."""


class RequestCancelled(RequestFailed, CancelledByOwner):
    """The job was cancelled, by its owner or an administrator; nothing was changed."""


class RequestUnavailable(RequestFailed, Unreachable):
    """A proxy answered 502, 503 or 504: it reaches no service."""

    default_code: ClassVar[Code] = Code.UNAVAILABLE


class NoAnswer(Unreachable, requests.ConnectionError):
    """No service answered, or the connection broke before the answer was complete."""


class NotConnected(NoAnswer):
    """No connection to the service was made, so nothing was sent."""


class BrokenOff(NoAnswer):
    """The connection broke in the middle of an answer."""

    default_code: ClassVar[Code] = Code.CONNECTION_LOST


class TooSlow(NoAnswer, requests.Timeout):
    """The service did not answer in time."""

    default_code: ClassVar[Code] = Code.TIMEOUT


class NotThere(Missing, FileNotFoundError):
    """A file or directory is missing on this machine; ``filename`` is its path."""

    default_code: ClassVar[Code] = Code.FILE_NOT_FOUND

    def __init__(
        self, reason: str, path: str, *, code: Code | str | None = None, hint: str = ""
    ) -> None:
        super().__init__(reason, code=code, hint=hint)
        self.errno = errno.ENOENT
        self.filename = path


MAX_REASON = 4096
"""Characters of the longest reason of a service that is kept."""

_BY_STATUS: dict[int, type[RequestFailed]] = {
    400: RequestRefused,
    403: RequestForbidden,
    404: RequestMissing,
    **dict.fromkeys((502, 503, 504), RequestUnavailable),
}


def request_failed(
    status: int,
    reason: str,
    *,
    code: Code | str | None = None,
    hint: str = "",
    fields: Mapping[str, object] | None = None,
) -> RequestFailed:
    """The error for an answer with the HTTP status ``status`` and further ``fields``.

    Its code is ``code`` or, if that is ``None``, the one that belongs to the status.
    """
    # Other services may answer 409 to something else.
    is_cancelled = code == Code.CANCELLED
    kind = RequestCancelled if is_cancelled else _BY_STATUS.get(status, RequestFailed)
    return kind(reason, code=code, hint=hint, fields=fields)


def error_from_answer(
    status: int, answer: Mapping[str, object], *, default_reason: str = ""
) -> RequestFailed:
    """The error that a service answers: an object with ``reason`` and, from ours, ``code``.

    The code is a :class:`~gobbler.errors.Code` if this release knows it, else the word as it
    is. ``default_reason`` stands in for a missing reason.
    """
    fields = {
        key: value for key, value in answer.items() if key not in ("status", "reason", "code")
    }
    given = answer.get("reason")
    reason = given if isinstance(given, str) and given else default_reason
    if len(reason) > MAX_REASON:
        reason = f"{reason[:MAX_REASON]}…"
    word = answer.get("code")
    is_word = isinstance(word, str) and bool(word)
    code = _CODES.get(str(word), str(word)) if is_word else _code_without_word(status, reason)
    return request_failed(status, reason, code=code, fields=fields)


_CODES: dict[str, Code | str] = {code.value: code for code in Code}

_GO_MISSING_REQUEST = re.compile(r"/request-[^/]*: no such file or directory")


def _code_without_word(status: int, reason: str) -> Code | str | None:
    """The code for an answer of the Go service, which sends none; ``None``: that of the status.

    It answers 400 both for a request file that it does not see and for a wrong request; only the
    text distinguishes them. No other text of a service decides anything in this client.
    """
    if status == Refused.status and _GO_MISSING_REQUEST.search(reason):
        return Code.MISSING_REQUEST
    return None


def incomplete_version(key: VersionKey, path: str = "") -> Missing:
    """The error for a version without manifest or summary.

    ``path`` is its path where the registry is read directly; otherwise the service answered 404.
    """
    reason = f"version {quoted(key.path)} is not complete: its records are missing"
    hint = (
        "Its upload may go on. If it broke off, an administrator removes the rest: "
        f"gobbler delete {key.path} --force"
    )
    code = Code.INCOMPLETE_VERSION
    if path:
        return NotThere(reason, path, code=code, hint=hint)
    return RequestMissing(reason, code=code, hint=hint)
