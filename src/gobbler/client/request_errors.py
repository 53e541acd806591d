"""The errors of :mod:`gobbler.client.errors` that are also those of ``requests``.

Few programs see one, and ``requests`` takes long to import. So the other module imports this one
when it needs the first of them.
"""

from __future__ import annotations

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
)


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


_BY_STATUS: dict[int, type[RequestFailed]] = {
    400: RequestRefused,
    403: RequestForbidden,
    404: RequestMissing,
    **dict.fromkeys((502, 503, 504), RequestUnavailable),
}


def kind_of(status: int, code: Code | str | None) -> type[RequestFailed]:
    """The class of the error for an answer with this HTTP status and code."""
    # Other services may answer 409 to something else.
    return RequestCancelled if code == Code.CANCELLED else _BY_STATUS.get(status, RequestFailed)
