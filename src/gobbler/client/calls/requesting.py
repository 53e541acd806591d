"""Having the service carry out a request, and reading what it answers."""

from __future__ import annotations

import os
from typing import TypeVar

import msgspec

from gobbler.client.calls.site import Site
from gobbler.client.errors import request_failed
from gobbler.client.jobs import HttpJobReader, Job, JobReader, SpoolJobReader
from gobbler.client.submit import submit, submit_to_spool
from gobbler.model.jobs import JobState, job_answer, job_name
from gobbler.model.progress import Progress

T = TypeVar("T")


class _Jobs(msgspec.Struct, frozen=True):
    jobs: list[JobState]


class Requesting(Site):
    """The base of the calls that change something."""

    def request(self, action: str, **fields: object) -> dict[str, object]:
        """Have the service carry out ``action``; answer what it answers.

        The fields are those in docs/http.md; what is ``None`` is left out. Without the
        address of a service the request goes through the spool of ``staging``.
        """
        if self.url:
            return submit(self._http, self.staging, action, fields)
        return self.start(action, **fields).wait()

    def start(self, action: str, **fields: object) -> Job:
        """The same, without waiting for it: the job that it is.

        A service that knows no jobs carries the request out before this returns.
        """
        if not self.url:
            return self._job(submit_to_spool(self.staging, action, fields), is_new=True)
        answer = submit(self._http, self.staging, action, fields, wait=False)
        name = answer.get("job")
        if answer["status"] == "ACCEPTED" and isinstance(name, str):
            return self._job(name, is_new=True)
        done = JobState("", action, "", "done", "", answer=job_answer(answer, 200))
        return Job.ended(done)

    def follow(self, progress: Progress, action: str, **fields: object) -> dict[str, object]:
        """Have the service carry out ``action`` as a job, and tell ``progress`` how far it is.

        The job is cancelled when the wait is interrupted.
        """
        job = self.start(action, **fields)
        try:
            return job.wait(progress=progress)
        except BaseException as error:
            if not isinstance(error, Exception) and not job.state().is_final:
                job.cancel()
            raise

    def job(self, name: str) -> Job:
        """The job ``name``, which may also be the name of its request file, if it is one's own."""
        full = name if name.partition("-")[0].isdigit() else job_name(os.geteuid(), name)
        return self._job(full, is_new=False)

    def _job(self, name: str, *, is_new: bool) -> Job:
        reader: JobReader = HttpJobReader(self._http) if self.url else SpoolJobReader(self.staging)
        return Job(name, reader, lambda: self.request("cancel_job", job=name), is_new=is_new)

    def jobs(self, *, everybodys: bool = False) -> list[JobState]:
        """The user's jobs of the last seven days; for administrators also ``everybodys``."""
        return self._request_as(_Jobs, "list_jobs", all=everybodys).jobs

    def _request_as(self, kind: type[T], action: str, **fields: object) -> T:
        """The same, with the answer read as a ``kind``."""
        answer = self.request(action, **fields)
        try:
            return msgspec.convert(answer, kind)
        except msgspec.ValidationError as error:
            raise request_failed(
                500, f"the service's answer to {action} can't be read: {error}"
            ) from error
