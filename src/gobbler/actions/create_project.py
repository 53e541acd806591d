"""``create_project``: a new project with its permissions, usage and quota, all at once."""

from __future__ import annotations

import os

from gobbler.actions.context import RequestContext
from gobbler.actions.permission_warnings import permission_warnings
from gobbler.errors import Code, Forbidden, Refused, quoted
from gobbler.fs.atomic_write import DIRECTORY_MODE, write_new
from gobbler.fs.flush import flush_tree, raising_not_durable
from gobbler.model.names import PERMISSIONS, QUOTA, USAGE, check_name
from gobbler.model.records import (
    LoosePermissions,
    Permissions,
    Quota,
    Usage,
    check_uploaders,
    encode,
)
from gobbler.model.requests import CreateProject
from gobbler.registry.journal import Journal
from gobbler.registry.locks import changing_registry

BASELINE_BYTES = 1_000_000_000
GROWTH_BYTES_PER_YEAR = 1_000_000_000


def create_project(context: RequestContext, request: CreateProject) -> dict[str, object]:
    """Make the project, if the user is an administrator and there is none of that name.

    The answer may have ``warnings``.
    """
    project = check_name("project", request.project)
    if context.user not in context.service.admins:
        raise Forbidden(
            f"user {quoted(context.user)} may not create a project: only administrators may"
        )
    asked = request.permissions or LoosePermissions()
    permissions = _initial(asked, context.user)
    registry = context.service.registry
    if registry.has(project):
        raise _exists(project)
    answer = permission_warnings(context, Permissions(), asked, is_asset=False)
    with context.new_workspace() as workspace:
        journal = Journal(registry, workspace, marked=False)
        journal.add("tree", project)
        os.mkdir(workspace.tree, DIRECTORY_MODE)
        write_new(f"{workspace.tree}/{PERMISSIONS}", encode(permissions))
        write_new(f"{workspace.tree}/{USAGE}", encode(Usage(0)))
        quota = Quota(BASELINE_BYTES, GROWTH_BYTES_PER_YEAR, context.started.year)
        write_new(f"{workspace.tree}/{QUOTA}", encode(quota))
        journal.prepare(None, answer)
        flush_tree(workspace.path, context.service.durability)
        with changing_registry(registry):
            if registry.has(project):
                raise _exists(project)
            journal.commit()
        with raising_not_durable(f"project {quoted(project)}"):
            journal.flush(context.service.durability)
    return answer


def _initial(asked: LoosePermissions, user: str) -> Permissions:
    check_uploaders(asked.uploaders or (), "$.permissions.uploaders")
    given = asked.strict()
    owners = (user,) if asked.owners is None else given.owners
    return Permissions(owners, given.uploaders, given.global_write)


def _exists(project: str) -> Refused:
    return Refused(f"project {quoted(project)} already exists", code=Code.PROJECT_EXISTS)
