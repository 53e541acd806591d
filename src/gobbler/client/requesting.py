"""Having the service carry out a request, and reading what it answers."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from gobbler.client.errors import request_failed
from gobbler.client.site import Site
from gobbler.client.submit import submit

T = TypeVar("T")


class Requesting(Site):
    """The base of the calls that change something."""

    def request(self, action: str, **fields: object) -> dict[str, object]:
        """Have the service carry out ``action``; answer what it answers.

        The fields are those in docs/http.md; what is ``None`` is left out.
        """
        return submit(self._http, self.staging, action, fields)

    def _request_as(self, kind: type[T], action: str, **fields: object) -> T:
        """The same, with the answer read as a ``kind``."""
        answer = self.request(action, **fields)
        try:
            return msgspec.convert(answer, kind)
        except msgspec.ValidationError as error:
            raise request_failed(
                500, f"the service's answer to {action} can't be read: {error}"
            ) from error
