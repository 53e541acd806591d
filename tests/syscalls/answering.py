"""What is wrong with the answer to a request that was disturbed."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from gobbler.errors import Code

from .disturbing import LIMIT, Point
from .judging import Finding
from .serving import Answer

SPOKEN = ("could not", "may not read", "can't be read")
"""What a reason says of the operation that failed, besides the path in quotes."""

OURS = ("ENOSPC", "EMFILE", "ENOLCK", "EINTR", "EIO", "EFBIG")
"""Errors that are never the client's mistake."""


def answer_findings(point: Point, answer: Answer, hit: str, *, done: bool) -> Iterator[Finding]:
    """What is wrong with the ``answer`` to a request of which the call ``hit`` failed."""
    if not answer.reason:
        if not done:
            yield Finding("broken", "it was answered as done")
        return
    stands = answer.code == Code.NOT_DURABLE  # the error came too late to roll back
    if done and not stands:
        yield Finding("broken", f"it was done, but answered with: {answer.reason}")
    if not done and stands:
        yield Finding("broken", f"it was not done, but answered with: {answer.reason}")
    if not any(part in hit for part in ("staging", "registry", "archive/")):
        return  # about the host, such as its accounts
    if answer.status < 500 and point.error in OURS:
        yield Finding("reason", f"{answer.status}: {answer.reason}")
    names = names_in(hit)
    if not any(words in answer.reason for words in SPOKEN):
        yield Finding("reason", f"it tells no operation: {answer.reason}")
    if not _is_known_by_another_path(point, answer) and not names & components_in(answer.reason):
        yield Finding("reason", f"it tells another path: {answer.reason}")


def _is_known_by_another_path(point: Point, answer: Answer) -> bool:
    """Whether the reason should name another path than that of the failed call."""
    if '"' not in answer.reason:
        return False
    # Where the size of files is limited, another one may have been too large before; by which
    # directory a filesystem is flushed does not matter; a copy is known by what is copied.
    return (
        point.error == LIMIT
        or point.call.name == "syncfs"
        or answer.reason.startswith("could not copy")
    )


def names_in(text: str) -> set[str]:
    """The names of those files of ours that a call, or a reason, is about.

    A file that is to replace another is known by the name of that one, and all jobs are one.
    """
    paths = re.findall(r'[<"]([^<>"]+)[>"]', text.partition(" = ")[0])
    names = {os.path.basename(path.removesuffix(" (deleted)").rstrip("/")) for path in paths}
    return {_plain(name) for name in names if name}


def components_in(reason: str) -> set[str]:
    """The names of all that a walk along the paths of a ``reason`` comes by."""
    return {_plain(name) for path in re.findall('"([^"]+)"', reason) for name in path.split("/")}


def _plain(name: str) -> str:
    name = re.sub(r"^\.\.tmp-(.*)-[0-9a-f]{16}$", r"\1", name)
    return re.sub(r"^[0-9a-f]{16}-[0-9a-f]{8}", "job", name).lstrip(".")
