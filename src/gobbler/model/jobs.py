"""Jobs: requests in the spool.

::

    staging/..spool/
        tmp/    users write their request files here,
        new/    and rename them to here: waiting
        cur/    {job}           the request file, claimed
                {job}.state     its state and progress
                {job}.answer    its answer
                ..workers       the heartbeat of all workers
        jobs/   the service's own

``{job}`` is ``{uid of the requester}-{name of the request file}``, so jobs of different users
never have the same name. Users can't list ``new`` and ``cur``, so they see only jobs whose names
they know.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

from gobbler.errors import Code, Missing, quoted
from gobbler.model.names import file_name_problem

SPOOL = "..spool"
TMP, NEW, CUR, JOBS = "tmp", "new", "cur", "jobs"

STATE_SUFFIX = ".state"
ANSWER_SUFFIX = ".answer"

WORKERS = "..workers"
"""The heartbeat of all workers, in ``cur``; see :mod:`gobbler.fs.heartbeat`."""

NO_WORKER = (
    "no worker takes jobs from this spool now: start `gobbler worker`, or `gobbler serve` without "
    "`--jobs 0`, or ask the administrator of the service"
)
"""What a job waits for where nobody works."""

MAX_JOB_NAME_BYTES = 200
"""Longest name of a request file in the spool; the files of its job have longer ones."""

# A number has one spelling: with two, one owner would have two jobs of the same name.
_JOB = re.compile(r"(0|[1-9][0-9]*)-(.+)", re.DOTALL)

State = Literal["waiting", "running", "done", "failed", "cancelled"]
FINAL = ("done", "failed", "cancelled")

CANCELLED = "the job was cancelled"
"""The reason in the answer of a cancelled job."""


class JobProgress(Struct, frozen=True):
    """Files and bytes that are done, and the total if it is known.

    ``rate`` is in bytes per second; ``seconds_left`` is the rest at that rate. ``waits_for``: what
    the job waits for, in words, while it is held up.
    """

    files: int = 0
    bytes: int = 0
    files_expected: int | None = None
    bytes_expected: int | None = None
    rate: float | None = None
    seconds_left: float | None = None
    waits_for: str | UnsetType = UNSET


class JobState(Struct, frozen=True):
    """The state of a job; times are RFC 3339.

    ``attempts``: how often a worker has started it. ``answer``: once it is ``done``, ``failed`` or
    ``cancelled``, the answer of a plain ``POST``, with the HTTP status as ``http_status``. A list
    of jobs has no answers, but the ``code`` and the (shortened) ``reason`` of those that failed.
    ``address`` is what the request is about, such as ``project/asset/version``, if it says so.
    """

    job: str
    action: str
    user: str
    state: State
    submitted: str
    started: str | None = None
    finished: str | None = None
    attempts: int = 0
    progress: JobProgress = JobProgress()
    answer: dict[str, object] | UnsetType = UNSET
    code: str | UnsetType = UNSET
    reason: str | UnsetType = UNSET
    address: str = ""

    @property
    def is_final(self) -> bool:
        """Whether the job has ended."""
        return self.state in FINAL


def without_worker(state: JobState) -> JobState:
    """The state of a job that does not go on, since there is no worker."""
    progress = msgspec.structs.replace(state.progress, waits_for=NO_WORKER)
    return msgspec.structs.replace(state, progress=progress)


def job_name(uid: int, name: str) -> str:
    """The name of the job of the user ``uid`` for the request file ``name``."""
    return f"{uid}-{name}"


def full_job_name(uid: int, name: str) -> str:
    """The job that the user ``uid`` calls ``name``: its name, or that of its request file."""
    return name if name.partition("-")[0].isdigit() else job_name(uid, name)


def split_job(job: str) -> tuple[int, str]:
    """The user and the request file of a job. Raises :class:`~gobbler.errors.Missing`."""
    found = _JOB.fullmatch(job)
    if (
        found is None
        or "/" in job
        or not is_valid_request_file(found[2])
        or file_name_problem(job) is not None
    ):
        raise no_such_job(job)
    return int(found[1]), found[2]


def is_valid_request_file(name: str) -> bool:
    """Whether ``name`` can be the name of a request file in the spool."""
    return (
        file_name_problem(name) is None
        and name not in (".", "..")
        and len(name.encode()) <= MAX_JOB_NAME_BYTES
        and not name.endswith((STATE_SUFFIX, ANSWER_SUFFIX))
    )


def job_answer(answer: Mapping[str, object], http_status: int) -> dict[str, object]:
    """The answer of a job: that of a plain ``POST``, with the HTTP status of it."""
    return {**answer, "http_status": http_status}


def read_answer(answer: Mapping[str, object]) -> dict[str, object]:
    """The answer of a job as services write it now.

    Services without error codes wrote the HTTP status into ``code``.
    """
    code = answer.get("code")
    if not isinstance(code, int):
        return dict(answer)
    return {"http_status": code, **{key: value for key, value in answer.items() if key != "code"}}


def final_state(answer: Mapping[str, object]) -> State:
    """The final state of a job with this ``answer``."""
    if answer.get("status") == "SUCCESS":
        return "done"
    return "cancelled" if answer.get("code") == Code.CANCELLED else "failed"


def no_such_job(job: str) -> Missing:
    """The error for an unknown job."""
    return Missing(
        f"there is no job {quoted(job)}",
        code=Code.JOB_NOT_FOUND,
        hint="It may be older than seven days, or its request may not have arrived yet.",
    )


def progress_after(
    seconds: float, files: int, size: int, expected: tuple[int, int | None] | None
) -> JobProgress:
    """The progress after ``seconds`` of work; ``expected``: total files and bytes."""
    rate = size / seconds if seconds > 0 and size > 0 else None
    left = None
    if rate is not None and expected is not None and expected[1] is not None:
        left = round(max(0, expected[1] - size) / rate, 1)
    return JobProgress(
        files=files,
        bytes=size,
        files_expected=None if expected is None else expected[0],
        bytes_expected=None if expected is None else expected[1],
        rate=None if rate is None else round(rate, 1),
        seconds_left=left,
    )
