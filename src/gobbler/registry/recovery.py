"""Recovery after a crash: roll forward what was committed, remove what was not.

Its cost depends on what was interrupted, not on the size of the registry.
"""

from __future__ import annotations

import logging
import os
from contextlib import closing, suppress

from gobbler.errors import GobblerError, Missing
from gobbler.fs.flush import Durability, flush_filesystem
from gobbler.fs.record_file import read_file
from gobbler.model.names import INCOMING
from gobbler.model.records import decode
from gobbler.registry.consume import resume_consume
from gobbler.registry.draft import remove_abandoned_drafts
from gobbler.registry.journal import Intent, is_committed, roll_forward
from gobbler.registry.locks import changing_asset
from gobbler.registry.log import publish_log
from gobbler.registry.registry import Registry
from gobbler.registry.usage import update_latest, update_usage
from gobbler.registry.workspace import (
    Workspace,
    abandoned_attempts,
    abandoned_workspaces,
    answer_path,
    may_be_resumed,
    remove_expired_answers,
)

logger = logging.getLogger(__name__)


def recover(registry: Registry, durability: Durability) -> tuple[int, int]:
    """Recover all abandoned workspaces and drafts; how many were completed, how many removed.

    Lists ``..incoming`` once. Logs failures, which the next recovery retries.
    """
    names = os.listdir(registry.path(INCOMING))
    completed = removed = 0
    for workspace in abandoned_workspaces(registry.root, names):
        try:
            if _complete(registry, durability, workspace):
                completed += 1
            elif may_be_resumed(registry.root, workspace.name):
                workspace.keep = True
            else:
                removed += 1
        except (GobblerError, OSError) as error:
            workspace.keep = True
            logger.error("could not recover the workspace %s: %s", workspace.path, error)
    remove_expired_answers(registry.root, names)
    return completed, removed + remove_abandoned_drafts(registry.root, names)


def recover_workspace(
    registry: Registry, durability: Durability, name: str
) -> dict[str, object] | None:
    """The answer of the resumable workspace ``name`` if its change was committed.

    Completes the change. Raises :class:`~gobbler.registry.workspace.WorkspaceInUse` if another
    process works in the workspace.
    """
    answer = answer_path(name)
    with closing(abandoned_attempts(registry.root, name)) as attempts:
        for workspace in attempts:
            _complete(registry, durability, workspace)
            workspace.keep = not registry.has(answer)
    try:
        path = registry.path(answer)
        return decode(read_file(path, path), dict[str, object], path)
    except Missing:
        return None


def remove_workspace(registry: Registry, durability: Durability, name: str) -> None:
    """Remove the resumable workspace ``name`` and its answer; the request has been answered.

    Completes a change that was committed but could not be rolled back. Raises
    :class:`~gobbler.registry.workspace.WorkspaceInUse` if another process works in the workspace.
    """
    with closing(abandoned_attempts(registry.root, name)) as attempts:
        for workspace in attempts:
            _complete(registry, durability, workspace)
            workspace.keep = False
    with suppress(FileNotFoundError):
        os.unlink(registry.path(answer_path(name)))


def _complete(registry: Registry, durability: Durability, workspace: Workspace) -> bool:
    """Complete the change of an abandoned workspace if it was committed; whether it was."""
    try:
        data = read_file(workspace.intent, workspace.intent)
    except Missing:
        return False
    intent = decode(data, Intent, workspace.intent)
    if not is_committed(workspace, intent):
        return False
    roll_forward(registry, workspace, intent)
    _follow_up(registry, workspace, intent)
    flush_filesystem(registry.root, durability)
    logger.warning("completed an interrupted change of %s", intent.key)
    return True


def _follow_up(registry: Registry, workspace: Workspace, intent: Intent) -> None:
    """Do what follows the renames: usage, latest version, log entry, consumed sources."""
    key = intent.key
    for project in intent.recount:
        if registry.has(project):
            update_usage(registry, workspace, project)
    if intent.latest and registry.has(key.of_asset.path):
        with changing_asset(registry, key.of_asset):
            update_latest(registry, workspace, key.of_asset, skip_damaged=True)
    publish_log(registry, workspace)
    if intent.adopted and registry.has(key.path):
        own = [
            path
            for path, entry in registry.manifest(key).items()
            if entry.link is None and not entry.is_directory
        ]
        resume_consume(intent.staging, intent.source, registry.path(key.path), own)
