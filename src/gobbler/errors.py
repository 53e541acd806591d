"""Errors that a person or a script is meant to read.

Every one carries an HTTP status (what the service answers), an exit code (what the
command line ends with) and, where there is something to do about it, a hint.

==========  ====  =========  ==================================================
class       HTTP  exit code  meaning
==========  ====  =========  ==================================================
Refused      400          3  the request is wrong; sending it again is no use
Forbidden    403          4  the user may not do that
Missing      404          5  a project, asset, version or file is not there
Fault        500          1  the service or its filesystem failed
Unreachable    -          6  no service answered
Cancelled    500        130  stopped on request; nothing was changed
==========  ====  =========  ==================================================

Exit code 2 is a wrong command line (``click``'s own).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar


class GobblerError(Exception):
    """The base of all errors of this package.

    ``str()`` of it is the reason alone; ``hint`` (may be empty) says what to do next;
    ``fields`` are further fields of the service's answer.
    """

    status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1

    def __init__(
        self, reason: str, *, hint: str = "", fields: Mapping[str, object] | None = None
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint
        self.fields = dict(fields or {})

    def __str__(self) -> str:
        return self.reason

    @property
    def told(self) -> str:
        """The reason with the hint behind it, if there is one."""
        return f"{self.reason}. {self.hint}" if self.hint else self.reason

    def answer(self) -> dict[str, object]:
        """What the service answers: section 3 of the protocol."""
        return {"status": "ERROR", "reason": self.told, **self.fields}


class Refused(GobblerError):
    """The request itself is wrong (HTTP 400)."""

    status = 400
    exit_code = 3


class Forbidden(GobblerError):
    """The user is not allowed to do that (HTTP 403)."""

    status = 403
    exit_code = 4


class Missing(GobblerError):
    """A project, asset, version or file is not there (HTTP 404)."""

    status = 404
    exit_code = 5


class Fault(GobblerError):
    """The service, its filesystem or a file of the registry is broken (HTTP 500)."""


class Unreachable(GobblerError):
    """No service answered at the address."""

    exit_code = 6


class Cancelled(GobblerError):
    """The work was stopped on request and everything was put back."""

    exit_code = 130


def quoted(name: str | bytes) -> str:
    """``name`` in quotes and safe to print.

    Control characters, lone surrogates (bytes that are not UTF-8) and characters that
    reorder text on a terminal are escaped, so that a file's name can't forge a log line.
    """
    text = name.decode("utf-8", "surrogateescape") if isinstance(name, bytes) else name
    if text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return '"' + "".join(_safe(c) for c in text) + '"'


def _safe(char: str) -> str:
    if char in '"\\':
        return "\\" + char
    if char.isprintable():
        return char
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return f"\\u{code:04x}" if code > 0xFF else f"\\x{code:02x}"
