"""``list_jobs`` and ``cancel_job``: a user's own jobs in the spool.

A job belongs to the owner of its request file; nothing else proves it.
"""

from __future__ import annotations

import msgspec

from gobbler.actions.context import RequestContext, check_admin
from gobbler.model.jobs import full_job_name
from gobbler.model.requests import CancelJob, ListJobs
from gobbler.spool.job_list import job_list
from gobbler.spool.spool import Spool


def list_jobs(context: RequestContext, request: ListJobs) -> dict[str, object]:
    """List the requester's jobs, or ``all``; the answer has ``jobs``, without their answers."""
    if request.all:
        check_admin(context, "list the jobs of all users")
    uid = None if request.all else context.requester.uid
    found = job_list(_spool(context), uid)
    return {"jobs": msgspec.to_builtins(found.jobs), "left_out": found.left_out}


def cancel_job(context: RequestContext, request: CancelJob) -> dict[str, object]:
    """Cancel a job; the answer has its name as ``job``.

    The job may still succeed if it is about to be published.
    """
    job = full_job_name(context.requester.uid, request.job)
    is_admin = context.user in context.service.admins
    _spool(context).cancel(job, None if is_admin else context.requester.uid)
    return {"job": job}


def _spool(context: RequestContext) -> Spool:
    return Spool(context.service.staging, context.service.durability)
