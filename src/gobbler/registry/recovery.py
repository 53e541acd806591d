"""After a crash: sweep what nobody builds any more, finish what had been published.

It costs what was in flight, not what the registry holds.
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress

from gobbler.errors import GobblerError, Missing
from gobbler.fs.flush import Durability, flush_filesystem
from gobbler.fs.open import read_file
from gobbler.model.records import decode
from gobbler.registry.consume import consume_again
from gobbler.registry.draft import sweep_drafts
from gobbler.registry.journal import is_committed, redo
from gobbler.registry.locks import changing_asset
from gobbler.registry.log import publish_log
from gobbler.registry.registry import Registry
from gobbler.registry.usage import recount, redecide_latest
from gobbler.registry.workspace import (
    Intent,
    Workspace,
    abandoned_workspaces,
    done_path,
    forget_old_answers,
    left_workspace,
)

logger = logging.getLogger(__name__)


def recover(registry: Registry, durability: Durability) -> tuple[int, int]:
    """Deal with all abandoned jobs and drafts; how many were finished and how many swept.

    A job that can't be dealt with is logged and stays for the next time.
    """
    finished = swept = 0
    for workspace in abandoned_workspaces(registry.root):
        try:
            intent = _intent(workspace)
            if intent is not None and is_committed(workspace, intent):
                _finish(registry, workspace, intent)
                flush_filesystem(registry.root, durability)
                logger.warning("finished a change of %s that a crash had interrupted", intent.key)
                finished += 1
            elif workspace.is_resumable and not registry.has(done_path(workspace.task)):
                workspace.unfinished = True  # for whoever takes up the task again
            else:
                swept += 1
        except (GobblerError, OSError) as error:
            workspace.unfinished = True
            logger.error("could not finish %s: %s", workspace.path, error)
    forget_old_answers(registry.root)
    return finished, swept + sweep_drafts(registry.root)


def settle(registry: Registry, durability: Durability, task: str) -> dict[str, object] | None:
    """The answer to ``task`` if an earlier attempt has made its change; completes that.

    Raises :class:`~gobbler.registry.workspace.WorkspaceInUse` if another process is at it.
    """
    with left_workspace(registry.root, task) as workspace:
        intent = None if workspace is None else _intent(workspace)
        if workspace is not None and intent is not None and is_committed(workspace, intent):
            _finish(registry, workspace, intent)
            flush_filesystem(registry.root, durability)
        if workspace is not None and registry.has(done_path(task)):
            workspace.unfinished = False
    try:
        path = registry.path(done_path(task))
        return decode(read_file(path, path), dict[str, object], path)
    except Missing:
        return None


def forget_workspace(registry: Registry, durability: Durability, task: str) -> None:
    """Remove all that is left of a ``task``, now that its requester has an answer.

    A change that could be neither completed nor taken back is completed first. Raises
    :class:`~gobbler.registry.workspace.WorkspaceInUse` if another process is at it.
    """
    with left_workspace(registry.root, task) as workspace:
        if workspace is not None:
            intent = _intent(workspace)
            if intent is not None and is_committed(workspace, intent):
                _finish(registry, workspace, intent)
                flush_filesystem(registry.root, durability)
            workspace.unfinished = False
    with suppress(FileNotFoundError):
        os.unlink(registry.path(done_path(task)))


def _intent(workspace: Workspace) -> Intent | None:
    try:
        return decode(read_file(workspace.intent, workspace.intent), Intent, workspace.intent)
    except Missing:
        return None


def _finish(registry: Registry, workspace: Workspace, intent: Intent) -> None:
    redo(registry, workspace, intent)
    key = intent.key
    for project in intent.recount:
        if registry.has(project):
            recount(registry, workspace, project)
    if intent.latest and registry.has(key.of_asset.path):
        with changing_asset(registry, key.of_asset):
            redecide_latest(registry, workspace, key.of_asset)
    publish_log(registry, workspace)
    if intent.adopted and registry.has(key.path):
        own = [
            path
            for path, entry in registry.manifest(key).items()
            if entry.link is None and not entry.is_directory
        ]
        consume_again(intent.staging, intent.source, registry.path(key.path), own)
