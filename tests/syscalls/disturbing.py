"""Points at which operations are disturbed, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from .judging import Expected, Finding
from .operations import Operation
from .tracing import RequestContext

LIMIT = "EFBIG"
"""The error of a write beyond what the size of files is limited to; that before is short."""


class Study(NamedTuple):
    """The operation undisturbed: its states, its calls in a new service and in a used one."""

    expected: Expected
    cold: list[RequestContext]
    warm: list[RequestContext]


@dataclass(frozen=True)
class Point:
    """Where an operation is disturbed, and how; without an ``error`` it is killed.

    ``new``: the service has not done anything before. With :data:`LIMIT`, the number of the
    call is that of the bytes that files can have.
    """

    operation: Operation
    expected: Expected
    call: RequestContext
    error: str = ""
    new: bool = False


class Outcome(NamedTuple):
    """``hit`` is the text of the call; empty if the point was not reached."""

    point: Point
    hit: str
    findings: list[Finding]
