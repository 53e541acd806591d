"""``create_project``: a new project with its permissions, usage and quota, all at once."""

from __future__ import annotations

import os

from gobbler.actions.guards import changing_registry
from gobbler.actions.journal import Journal
from gobbler.actions.site import Call
from gobbler.disk.flushing import already_made, flush_files
from gobbler.disk.writing import DIRECTORY_MODE, write_new
from gobbler.errors import Forbidden, Refused, quoted
from gobbler.names import PERMISSIONS, QUOTA, USAGE, check_name
from gobbler.records import LoosePermissions, Permissions, Quota, Usage, check_uploaders, encode
from gobbler.requests import CreateProject

BASELINE_BYTES = 1_000_000_000
GROWTH_BYTES_PER_YEAR = 1_000_000_000


def create_project(call: Call, request: CreateProject) -> dict[str, object]:
    """Make the project, if the user is an administrator and there is none of that name."""
    project = check_name("project", request.project)
    if call.user not in call.site.admins:
        raise Forbidden(f"user {quoted(call.user)} is not an administrator: can't create projects")
    permissions = _initial(request.permissions or LoosePermissions(), call.user)
    registry = call.site.registry
    if registry.has(project):
        raise _exists(project)
    with call.new_job() as job:
        journal = Journal(registry, job, marked=False)
        journal.bring_new("tree", project)
        os.mkdir(job.tree, DIRECTORY_MODE)
        write_new(f"{job.tree}/{PERMISSIONS}", encode(permissions))
        write_new(f"{job.tree}/{USAGE}", encode(Usage(0)))
        quota = Quota(BASELINE_BYTES, GROWTH_BYTES_PER_YEAR, call.started.year)
        write_new(f"{job.tree}/{QUOTA}", encode(quota))
        journal.record(None)
        flush_files(job.path, call.site.durability)
        with changing_registry(registry):
            if registry.has(project):
                raise _exists(project)
            journal.commit()
        with already_made(f"project {quoted(project)}"):
            journal.flush_moves(call.site.durability)
    return {}


def _initial(asked: LoosePermissions, user: str) -> Permissions:
    check_uploaders(asked.uploaders or (), "$.permissions.uploaders")
    given = asked.strict()
    owners = (user,) if asked.owners is None else given.owners
    return Permissions(owners, given.uploaders, given.global_write)


def _exists(project: str) -> Refused:
    return Refused(f"project {quoted(project)} already exists")
