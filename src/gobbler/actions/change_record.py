"""A change of one record, decided under the locks that guard it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from gobbler.actions.context import RequestContext
from gobbler.fs.flush import flush_directory, flush_files, raising_not_durable
from gobbler.registry.draft import directories_to_flush, write_record
from gobbler.registry.journal import Journal


def replace_record(
    context: RequestContext,
    guard: AbstractContextManager[None],
    target: str,
    decide: Callable[[], bytes | None],
    change: str,
) -> bool:
    """Put what ``decide`` returns at ``target``, a path in the registry, while ``guard`` is held.

    Returns ``False``, and changes nothing, if ``decide`` returns ``None``. The content is flushed
    under the locks, as it depends on the stored record. In a resumable workspace the change also
    leaves its answer, which takes a journal. ``change`` names the change in the error that says it
    is not durable.
    """
    if context.workspace_name:
        return _by_journal(context, guard, target, decide, change)
    root, durability = context.service.registry.root, context.service.durability
    path = context.service.registry.path(target)
    with guard:
        data = decide()
        if data is None:
            return False
        write_record(root, path, data, durability)
    with raising_not_durable(change):
        for directory in directories_to_flush(root, path):
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
            journal.prepare(None)
            flush_files(workspace.path, context.service.durability)
            journal.commit()
        with raising_not_durable(change):
            journal.flush_directories(context.service.durability)
    return True
