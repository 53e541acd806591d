"""What can go wrong between a client and a service.

Each is one of :mod:`gobbler.errors`, with its status, exit code and hint, and at the same
time the exception that code written with ``requests`` catches:

=====================  =================================================
class                  is also
=====================  =================================================
RequestFailed          ``requests.HTTPError``
NoAnswer               ``requests.ConnectionError``, ``errors.Unreachable``
TooSlow                ``requests.Timeout``
NotThere               ``FileNotFoundError``, ``errors.Missing``
=====================  =================================================
"""

from __future__ import annotations

import errno
from collections.abc import Mapping

import requests

from gobbler.errors import Forbidden, GobblerError, Missing, Refused, Unreachable


class RequestFailed(GobblerError, requests.HTTPError):
    """The service answered with an error; ``str()`` of this is the reason that it gave."""

    @property
    def problems(self) -> list[str]:
        """All that is wrong, one by one, where the service tells: when a version is validated."""
        listed = self.fields.get("problems")
        return [str(problem) for problem in listed] if isinstance(listed, list) else []


class RequestRefused(RequestFailed, Refused):
    """The service answered 400: the request is wrong."""


class RequestForbidden(RequestFailed, Forbidden):
    """The service answered 403: the user may not do that."""


class RequestMissing(RequestFailed, Missing):
    """The service answered 404: what was asked for is not there."""


class RequestUnavailable(RequestFailed, Unreachable):
    """A proxy answered 502, 503 or 504: there is no service behind it now."""


class NoAnswer(Unreachable, requests.ConnectionError):
    """No service answered, or the connection broke before the answer was complete."""


class BrokenOff(NoAnswer):
    """The connection broke in the middle of an answer."""


class TooSlow(NoAnswer, requests.Timeout):
    """The service did not answer in time."""


class NotThere(Missing, FileNotFoundError):
    """Something is missing in a directory of this machine."""

    def __init__(self, reason: str, path: str, *, hint: str = "") -> None:
        super().__init__(reason, hint=hint)
        self.errno = errno.ENOENT
        self.filename = path


_BY_STATUS = {
    400: RequestRefused,
    403: RequestForbidden,
    404: RequestMissing,
    **dict.fromkeys((502, 503, 504), RequestUnavailable),
}


def request_failed(
    status: int, reason: str, *, hint: str = "", fields: Mapping[str, object] | None = None
) -> RequestFailed:
    """The error for an answer with the HTTP status ``status`` and further ``fields``."""
    return _BY_STATUS.get(status, RequestFailed)(reason, hint=hint, fields=fields)
