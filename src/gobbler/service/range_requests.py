"""Range and conditional requests: RFC 9110, sections 13 and 14, as functions on values.

A request for one range gets it; a request for several gets the whole file, as the RFC allows.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from email.utils import formatdate, mktime_tz, parsedate_tz
from typing import NamedTuple

_RANGE = re.compile(r"bytes=\s*(\d*)\s*-\s*(\d*)\s*", re.ASCII)


class FileState(NamedTuple):
    """The state of a file that is served: size in bytes, time of change in ns, and inode."""

    size: int
    modified: int
    inode: int

    @property
    def etag(self) -> str:
        """A strong validator: it changes whenever the file is replaced or modified."""
        return f'"{self.inode:x}-{self.modified:x}-{self.size:x}"'

    @property
    def last_modified(self) -> str:
        """The time of change as an HTTP date."""
        return _date(self.modified // 1_000_000_000)


@functools.lru_cache(1024)
def _date(seconds: int) -> str:
    return formatdate(seconds, usegmt=True)


class Decision(NamedTuple):
    """The status of an answer, and its bytes: from ``start`` up to, but without, ``stop``."""

    status: int
    start: int
    stop: int


def decide(headers: Mapping[str, str], file: FileState) -> Decision:
    """Decide how to answer a ``GET`` or ``HEAD`` with ``headers`` (names in lower case)."""
    if not headers:
        return Decision(200, 0, file.size)
    nothing = (0, 0)
    match = headers.get("if-match")
    if match is not None:
        if not _matches(match, file.etag, strongly=True):
            return Decision(412, *nothing)
    elif _is_newer(headers.get("if-unmodified-since"), file):
        return Decision(412, *nothing)
    none_match = headers.get("if-none-match")
    if none_match is not None:
        if _matches(none_match, file.etag, strongly=False):
            return Decision(304, *nothing)
    elif _is_newer(headers.get("if-modified-since"), file) is False:
        return Decision(304, *nothing)
    wanted = headers.get("range")
    if wanted is None or not _range_applies(headers.get("if-range"), file):
        return Decision(200, 0, file.size)
    return _range(wanted, file.size)


def _matches(header: str, etag: str, *, strongly: bool) -> bool:
    tags = [tag.strip() for tag in header.split(",")]
    if not strongly:
        tags = [tag.removeprefix("W/") for tag in tags]
    return "*" in tags or etag in tags


def _is_newer(date: str | None, file: FileState) -> bool | None:
    """Whether the file was changed after ``date``; ``None`` if that is no date."""
    seconds = None if date is None else _seconds(date)
    return None if seconds is None else file.modified // 1_000_000_000 > seconds


def _seconds(date: str) -> int | None:
    parsed = parsedate_tz(date)
    if parsed is None:
        return None
    try:
        return mktime_tz(parsed)
    except (ValueError, OverflowError):
        return None


def _range_applies(condition: str | None, file: FileState) -> bool:
    if condition is None:
        return True
    condition = condition.strip()
    if condition.startswith('"'):
        return condition == file.etag
    return _seconds(condition) == file.modified // 1_000_000_000


def _range(header: str, size: int) -> Decision:
    match = _RANGE.fullmatch(header)
    if match is None or match.group(1, 2) == ("", ""):
        return Decision(200, 0, size)
    # A number of more than 18 digits is beyond any file, and slow to parse.
    digits = (text.lstrip("0")[:19] or "0" if text else None for text in match.groups())
    first, last = (None if text is None else int(text) for text in digits)
    if first is None:
        start, stop = max(0, size - (last or 0)), size
    else:
        start, stop = first, size if last is None else min(last + 1, size)
        if last is not None and last < first:
            return Decision(200, 0, size)
    if start >= size or start >= stop:
        return Decision(416, 0, 0)
    return Decision(206, start, stop)
