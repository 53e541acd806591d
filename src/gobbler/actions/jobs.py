"""``list_jobs`` and ``cancel_job``: what has become of one's requests in the spool.

Whoever owns the request file is whose jobs they are: no more proof is needed, or enough.
"""

from __future__ import annotations

import msgspec

from gobbler.actions.site import Call
from gobbler.actions.versions import check_admin
from gobbler.jobs import job_name
from gobbler.requests import CancelJob, ListJobs
from gobbler.spool.jobs import Spool


def list_jobs(call: Call, request: ListJobs) -> dict[str, object]:
    """The states of the requester's jobs, or of ``all``; ``jobs`` of the answer."""
    if request.all:
        check_admin(call, "list the jobs of all users")
    uid = None if request.all else call.requester.uid
    states = _spool(call).answers.states(uid)
    return {"jobs": [msgspec.to_builtins(state) for state in states]}


def cancel_job(call: Call, request: CancelJob) -> dict[str, object]:
    """Have a job given up and everything put back; ``job`` of the answer.

    It may still succeed, if it was about to be published.
    """
    job = request.job
    if not job.partition("-")[0].isdigit():
        job = job_name(call.requester.uid, job)
    is_admin = call.user in call.site.admins
    _spool(call).cancel(job, None if is_admin else call.requester.uid)
    return {"job": job}


def _spool(call: Call) -> Spool:
    return Spool(call.site.staging, call.site.durability)
