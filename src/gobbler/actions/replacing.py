"""A change of one record, decided under the locks that guard it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from gobbler.actions.journal import Journal
from gobbler.actions.site import Call
from gobbler.disk.drafts import flushed_with, put_record
from gobbler.disk.flushing import already_made, flush_directory, flush_files


def replace_record(
    call: Call,
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
    if call.task:
        return _by_journal(call, guard, target, decide, change)
    root, durability = call.site.registry.root, call.site.durability
    path = call.site.registry.path(target)
    with guard:
        data = decide()
        if data is None:
            return False
        put_record(root, path, data, durability)
    with already_made(change):
        for directory in flushed_with(root, path):
            flush_directory(directory, durability)
    return True


def _by_journal(
    call: Call,
    guard: AbstractContextManager[None],
    target: str,
    decide: Callable[[], bytes | None],
    change: str,
) -> bool:
    with call.new_job() as job:
        with guard:
            data = decide()
            if data is None:
                return False
            journal = Journal(call.site.registry, job, marked=False)
            journal.write("record", data, target)
            journal.record(None)
            flush_files(job.path, call.site.durability)
            journal.commit()
        with already_made(change):
            journal.flush_moves(call.site.durability)
    return True
