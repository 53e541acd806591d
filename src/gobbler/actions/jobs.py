"""``list_jobs`` and ``cancel_job``: what has become of one's requests in the spool.

Whoever owns the request file is whose jobs they are: no more proof is needed, or enough.
"""

from __future__ import annotations

import msgspec

from gobbler.actions.context import RequestContext, check_admin
from gobbler.model.jobs import job_name
from gobbler.model.requests import CancelJob, ListJobs
from gobbler.spool.spool import Spool


def list_jobs(context: RequestContext, request: ListJobs) -> dict[str, object]:
    """The states of the requester's jobs, or of ``all``; ``jobs`` of the answer."""
    if request.all:
        check_admin(context, "list the jobs of all users")
    uid = None if request.all else context.requester.uid
    states = _spool(context).answers.states(uid)
    return {"jobs": [msgspec.to_builtins(state) for state in states]}


def cancel_job(context: RequestContext, request: CancelJob) -> dict[str, object]:
    """Have a job given up and everything put back; ``workspace`` of the answer.

    It may still succeed, if it was about to be published.
    """
    workspace = request.job
    if not workspace.partition("-")[0].isdigit():
        workspace = job_name(context.requester.uid, workspace)
    is_admin = context.user in context.service.admins
    _spool(context).cancel(workspace, None if is_admin else context.requester.uid)
    return {"job": workspace}


def _spool(context: RequestContext) -> Spool:
    return Spool(context.service.staging, context.service.durability)
