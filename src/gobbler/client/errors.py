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

All but the last one are made when they are first used, since ``requests`` is slow to import. So
modules of this package name them as ``errors.NoAnswer``, where they raise or catch one.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, ClassVar

from gobbler.errors import Code, Missing, Refused, quoted
from gobbler.model.names import VersionKey

if TYPE_CHECKING:
    from gobbler.client.request_errors import (
        BrokenOff,
        NoAnswer,
        NotConnected,
        RequestCancelled,
        RequestFailed,
        RequestForbidden,
        RequestMissing,
        RequestRefused,
        RequestUnavailable,
        TooSlow,
    )

__all__ = [
    "BrokenOff",
    "NoAnswer",
    "NotConnected",
    "NotThere",
    "RequestCancelled",
    "RequestFailed",
    "RequestForbidden",
    "RequestMissing",
    "RequestRefused",
    "RequestUnavailable",
    "TooSlow",
    "error_from_answer",
    "incomplete_version",
    "request_failed",
]


def __getattr__(name: str) -> object:
    """Import an error of ``requests`` when it is first used."""
    if name in __all__:
        found = getattr(import_module("gobbler.client.request_errors"), name)
        globals()[name] = found
        return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


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
    from gobbler.client.request_errors import kind_of

    return kind_of(status, code)(reason, code=code, hint=hint, fields=fields)


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
    from gobbler.client.request_errors import RequestMissing

    return RequestMissing(reason, code=code, hint=hint)
