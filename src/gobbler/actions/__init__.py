"""The actions: one module for each, and the table of all.

A new action is a new module and a line in :data:`ACTIONS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from gobbler.actions.check_upload import check_upload
from gobbler.actions.context import RequestContext, Requester, ServiceContext
from gobbler.actions.create_project import create_project
from gobbler.actions.delete import delete_asset, delete_project, delete_version
from gobbler.actions.jobs import cancel_job, list_jobs
from gobbler.actions.probation import approve_probation, reject_probation
from gobbler.actions.refresh import refresh_latest, refresh_usage
from gobbler.actions.reindex_version import reindex_version
from gobbler.actions.reroute_links import reroute_links
from gobbler.actions.set_permissions import set_permissions
from gobbler.actions.upload import upload
from gobbler.actions.validate_version import validate_version
from gobbler.errors import Code, Forbidden, Refused, quoted
from gobbler.fs.clock import now
from gobbler.fs.lock import cancellable
from gobbler.fs.reserve import with_reserve
from gobbler.model import requests
from gobbler.model.ignored import MAX_IGNORED, ignored_fields
from gobbler.model.progress import CancelToken, Progress
from gobbler.model.requests import action_of, decode_request
from gobbler.rules.permissions import may_spoof


def health_check(context: RequestContext, request: requests.HealthCheck) -> dict[str, object]:
    """Do nothing, for anyone: an answer shows that the service works."""
    del context, request
    return {}


@dataclass(frozen=True)
class Action:
    """How an action reads its request and carries it out."""

    request: type[msgspec.Struct]
    carry_out: Callable[[RequestContext, Any], dict[str, object]]


ACTIONS: dict[str, Action] = {
    "approve_probation": Action(requests.Approve, approve_probation),
    "cancel_job": Action(requests.CancelJob, cancel_job),
    "check_upload": Action(requests.CheckUpload, check_upload),
    "create_project": Action(requests.CreateProject, create_project),
    "delete_asset": Action(requests.DeleteAsset, delete_asset),
    "delete_project": Action(requests.DeleteProject, delete_project),
    "delete_version": Action(requests.DeleteVersion, delete_version),
    "health_check": Action(requests.HealthCheck, health_check),
    "list_jobs": Action(requests.ListJobs, list_jobs),
    "refresh_latest": Action(requests.RefreshLatest, refresh_latest),
    "refresh_usage": Action(requests.RefreshUsage, refresh_usage),
    "reindex_version": Action(requests.OfVersion, reindex_version),
    "reject_probation": Action(requests.Reject, reject_probation),
    "reroute_links": Action(requests.RerouteLinks, reroute_links),
    "set_permissions": Action(requests.SetPermissions, set_permissions),
    "upload": Action(requests.Upload, upload),
    "validate_version": Action(requests.OfVersion, validate_version),
}


def carry_out(
    service: ServiceContext,
    name: str,
    data: bytes,
    requester: Requester,
    *,
    progress: Progress,
    cancel: CancelToken,
    workspace_name: str = "",
) -> dict[str, object]:
    """Carry out the request in the file called ``name`` with the content ``data``.

    Returns the fields of the answer; ``ignored`` are fields of the request that have no
    meaning. Raises :class:`~gobbler.errors.GobblerError` when the request
    is wrong, not allowed or fails. Then nothing has changed.

    With ``workspace_name``, the name of a resumable workspace, you can call it again after the
    calling process has died; it does not copy again what was copied. Before that, call
    :func:`~gobbler.registry.recovery.recover_workspace`, which returns the answer if the change was
    committed already.
    """
    started = now()
    action = ACTIONS.get(action_of(name) or "")
    if action is None:
        raise Refused(
            f"{quoted(name)} names an unknown action",
            code=Code.UNKNOWN_ACTION,
            hint="The name must be request-{action}-{anything}; the actions are "
            + ", ".join(ACTIONS)
            + ".",
        )
    request = decode_request(data, action.request)
    user = requester.name
    other = getattr(request, "spoof", None)
    if other is not None:
        if not may_spoof(user, other, service.spoofing, service.admins):
            raise Forbidden(f"user {quoted(user)} is not allowed to act for {quoted(other)}")
        user = other
    context = RequestContext(service, requester, user, started, progress, cancel, workspace_name)
    with cancellable(cancel):
        fields = with_reserve(
            service.reserves_for(action_of(name)), lambda: action.carry_out(context, request)
        )
    return fields | remarks(name, data)


def remarks(name: str, data: bytes) -> dict[str, object]:
    """The fields of an answer that tell what the service ignores in a valid request."""
    kind = ACTIONS[action_of(name) or ""].request
    ignored = ignored_fields(data, kind)
    if kind is requests.SetPermissions:
        ignored += decode_request(data, requests.SetPermissions).without_meaning()
    return {"ignored": ignored[:MAX_IGNORED]} if ignored else {}
