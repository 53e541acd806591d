"""A change of one record, decided under the locks that guard it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from gobbler.actions.context import RequestContext
from gobbler.fs.flush import flush_directory, flush_files, raising_not_durable
from gobbler.registry.draft import flushed_with, put_record
from gobbler.registry.journal import Journal


def replace_record(
    context: RequestContext,
    guard: AbstractContextManager[None],
    target: str,
    decide: Callable[[], bytes | None],
    change: str,
) -> bool:
    """Put what ``decide`` returns at ``target``, a path in the registry, while ``guard`` is held.

    ``None`` of it means: not now, and so does ``False`` of this. What is flushed, is under the
    locks, for what is new depends on what is stored. A task also leaves its answer, which takes a
    journal. ``change`` is what an error calls it that is met after all is done.
    """
    if context.task:
        return _by_journal(context, guard, target, decide, change)
    root, durability = context.service.registry.root, context.service.durability
    path = context.service.registry.path(target)
    with guard:
        data = decide()
        if data is None:
            return False
        put_record(root, path, data, durability)
    with raising_not_durable(change):
        for directory in flushed_with(root, path):
            flush_directory(directory, durability)
    return True


def _by_journal(
    context: RequestContext,
    guard: AbstractContextManager[None],
    target: str,
    decide: Callable[[], bytes | None],
    change: str,
) -> bool:
    with context.new_workspace() as workspace:
        with guard:
            data = decide()
            if data is None:
                return False
            journal = Journal(context.service.registry, workspace, marked=False)
            journal.write("record", data, target)
            journal.record(None)
            flush_files(workspace.path, context.service.durability)
            journal.commit()
        with raising_not_durable(change):
            journal.flush_moves(context.service.durability)
    return True
