"""The list of jobs: states without answers, and no more of them than a client can use.

A list of answers would hold the lists of earlier requests, and grow without end.
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

import msgspec

from gobbler.errors import GobblerError, shortened
from gobbler.model.jobs import STATE_SUFFIX, JobState, job_name
from gobbler.spool.spool import Spool

MAX_LISTED = 2000
"""Largest number of jobs in a list."""


class JobList(NamedTuple):
    """The newest jobs in the order of their names, and how many older ones are left out."""

    jobs: list[JobState]
    left_out: int


def job_list(spool: Spool, uid: int | None) -> JobList:
    """The jobs of the user ``uid``, or of every user (``None``).

    A failed job has the code and the shortened reason of its answer.
    """
    changed = {
        job: time for job, time in _changed(spool) if uid is None or job.startswith(f"{uid}-")
    }
    newest = heapq.nlargest(MAX_LISTED, changed, key=changed.__getitem__)
    states = []
    for job in sorted(newest):
        with suppress(GobblerError):  # it vanished meanwhile, or is no job at all
            states.append(_state(spool, job))
    return JobList(states, len(changed) - len(newest))


def _changed(spool: Spool) -> Iterator[tuple[str, float]]:
    """All jobs, and when each of them changed last (seconds since the epoch)."""
    with os.scandir(spool.new) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):  # claimed meanwhile
                status = entry.stat(follow_symlinks=False)
                yield job_name(status.st_uid, entry.name), status.st_ctime
    with os.scandir(spool.cur) as entries:
        for entry in entries:
            if entry.name.endswith(STATE_SUFFIX):
                with suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    yield entry.name.removesuffix(STATE_SUFFIX), status.st_ctime


def _state(spool: Spool, job: str) -> JobState:
    state = spool.answers.state(job, with_answer=False)
    if state.state != "failed":
        return state
    answer = spool.answers.state(job).answer
    if not isinstance(answer, dict):
        return state
    code, reason = (shortened(str(answer.get(field, ""))) for field in ("code", "reason"))
    return msgspec.structs.replace(state, code=code, reason=reason)
