"""Jobs: requests that wait in the spool until somebody carries them out.

::

    staging/..spool/
        tmp/    users write their request files here,
        new/    and rename them to here: waiting
        cur/    {job}           the request file, taken
                {job}.state     how far it is
                {job}.answer    what came of it
        jobs/   the service's own

``{job}`` is ``{uid of the requester}-{name of the request file}``, so nobody can come into
the way of another user's job. ``new`` and ``cur`` can't be listed by users: whoever does not
know the name of a job can't see it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from gobbler.errors import Code, Missing, quoted
from gobbler.model.names import file_name_problem

SPOOL = "..spool"
TMP, NEW, CUR, JOBS = "tmp", "new", "cur", "jobs"

STATE_SUFFIX = ".state"
ANSWER_SUFFIX = ".answer"

MAX_NAME_BYTES = 200
"""Of a request file in the spool; what is kept of its job has a longer one."""

# One way to write a number: another spelling would be another job of the same owner.
_JOB = re.compile(r"(0|[1-9][0-9]*)-(.+)", re.DOTALL)

Progressing = Literal["waiting", "running", "done", "failed", "cancelled"]
FINAL = ("done", "failed", "cancelled")

CANCELLED = "the job was cancelled"
"""The reason in the answer to a job that its owner did not want any more."""


class JobProgress(Struct, frozen=True):
    """Files and bytes that are done and that are expected, which may not be known yet.

    ``rate`` is in bytes per second, ``seconds_left`` what remains at that rate.
    """

    files: int = 0
    bytes: int = 0
    files_expected: int | None = None
    bytes_expected: int | None = None
    rate: float | None = None
    seconds_left: float | None = None


class JobState(Struct, frozen=True):
    """How far a job is; times are RFC 3339.

    ``attempts``: how often it was begun. ``answer``: once it is ``done``, ``failed`` or
    ``cancelled``, what a plain ``POST`` would have answered, and its HTTP status as
    ``http_status``.
    """

    job: str
    action: str
    user: str
    state: Progressing
    submitted: str
    started: str | None = None
    finished: str | None = None
    attempts: int = 0
    progress: JobProgress = JobProgress()
    answer: dict[str, object] | UnsetType = UNSET

    @property
    def is_final(self) -> bool:
        """Whether nothing more will become of it."""
        return self.state in FINAL


def job_name(uid: int, name: str) -> str:
    """The name of the job that the user ``uid`` asks for with the request file ``name``."""
    return f"{uid}-{name}"


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
    """Whether an answer can be found by ``name``, be it that of a request file or not."""
    return (
        file_name_problem(name) is None
        and name not in (".", "..")
        and len(name.encode()) <= MAX_NAME_BYTES
        and not name.endswith((STATE_SUFFIX, ANSWER_SUFFIX))
    )


def job_answer(answer: Mapping[str, object], http_status: int) -> dict[str, object]:
    """The answer of a job: that of a plain ``POST``, with the HTTP status of it."""
    return {**answer, "http_status": http_status}


def read_answer(answer: Mapping[str, object]) -> dict[str, object]:
    """The answer of a job as services write it now.

    Services before there were codes of errors wrote the HTTP status into ``code``.
    """
    code = answer.get("code")
    if not isinstance(code, int):
        return dict(answer)
    return {"http_status": code, **{key: value for key, value in answer.items() if key != "code"}}


def final_state(answer: Mapping[str, object]) -> Progressing:
    """The final state of a job with this ``answer``."""
    if answer.get("status") == "SUCCESS":
        return "done"
    return "cancelled" if answer.get("code") == Code.CANCELLED else "failed"


def no_such_job(job: str) -> Missing:
    """The error for a job that nothing is known of."""
    return Missing(
        f"there is no job {quoted(job)}",
        code=Code.JOB_NOT_FOUND,
        hint="It may be older than seven days, or its request may not have arrived yet.",
    )


def progress_after(
    seconds: float, files: int, size: int, expected: tuple[int, int | None] | None
) -> JobProgress:
    """What is known after ``seconds`` of work; ``expected``: files and bytes in all."""
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
