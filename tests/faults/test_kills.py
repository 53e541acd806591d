"""Whenever the process is killed: what is seen is whole, and recovery puts the rest right.

See :mod:`.moments` for what a kill leaves; `tests/syscalls` and the tests of jobs really kill.
"""

from __future__ import annotations

import contextlib
import itertools
from pathlib import Path

import pytest

from gobbler.errors import GobblerError

from .changes import OPERATIONS
from .checks import complete, report, tidy, tried_again, unchanged
from .effects import KILLED, Failure, LastingFailure, Recording, intercepted
from .moments import KillOnceDone, changes, each_kill, in_a_child
from .operations import Operation
from .sampling import STEP
from .world import Snapshot, World, violations


def test_a_kill_at_any_call_is_put_right_by_recovery(
    operation: Operation, template: World, worlds: Path
) -> None:
    registry, sources = template.published(), template.sources()
    wrong: list[str] = []
    before = violations(template)
    effects = changes(operation, template.copy_to(worlds / "rehearsal"))
    killed = template.copy_to(worlds / "killed")
    for point, world in each_kill(killed, worlds, effects, lambda: operation.run(killed)):
        done = operation.done(world)
        found = [] if operation.in_steps else as_it_was_or_complete(operation, world, registry)
        found += tidy(world)
        if done and not operation.done(world):
            found.append("recovery has taken it back")
        if operation.done(world):
            found += violations(world) + complete(operation, world)
        else:
            found += [] if violations(world) == before else violations(world)
            found += unchanged(world, registry, sources)
            found += tried_again(operation, world) if not found else []
        wrong += [f"{operation.name}, killed {point}: {problem}" for problem in found]
    report(wrong)


def as_it_was_or_complete(operation: Operation, world: World, registry: Snapshot) -> list[str]:
    """What readers see before anything has been recovered."""
    if operation.done(world):
        return complete(operation, world)
    return [] if world.published() == registry else ["not done, but something can be seen of it"]


def test_a_disk_that_fails_for_good_is_put_right_after_a_restart(
    operation: Operation, template: World, worlds: Path
) -> None:
    registry, sources = template.published(), template.sources()
    wrong: list[str] = []
    effects = changes(operation, template.copy_to(worlds / "rehearsal"))
    at = {effect.change: template.copy_to(worlds / str(effect.number)) for effect in effects}

    def fail_each() -> None:
        for change, world in at.items():
            failing = intercepted(world.base, LastingFailure(change))
            with failing, contextlib.suppress(GobblerError, OSError):
                operation.run(world)

    # One process for all: what matters is that it has ended.
    assert in_a_child(template, Recording([]), fail_each) == 0
    for effect in effects:
        world = at[effect.change]
        found = tidy(world)
        if operation.done(world):
            found += violations(world) + complete(operation, world)
        else:
            found += unchanged(world, registry, sources)
            found += tried_again(operation, world) if not found else []
        wrong += [f"{operation.name}, {effect} and all later: {problem}" for problem in found]
        world.remove()
    report(wrong)


KINDS = (
    *("upload of a new asset", "upload that consumes own files", "upload on probation"),
    *("delete_version", "approve_probation", "reindex_version", "reroute_links"),
)
"""Operations that leave different things to recovery."""


def test_a_recovery_that_fails_leaves_all_to_the_next(
    operation: Operation, template: World, worlds: Path
) -> None:
    wrong: list[str] = []
    killed = killed_right_after_it_was_done(operation, template, worlds)
    for n in itertools.count(1, 1 if operation.name in KINDS else STEP):
        world = killed.again()
        failure = Failure(n)
        with intercepted(world.base, failure), contextlib.suppress(OSError):
            world.recover()
        if failure.failed is None:
            break
        found = tidy(world) + violations(world) + complete(operation, world)
        wrong += [f"recovery of {operation.name}, {failure.failed}: {p}" for p in found]
    assert n > 1
    report(wrong)


@pytest.mark.parametrize(
    "operation", [op for op in OPERATIONS if op.name in KINDS], ids=str, indirect=True
)
def test_a_recovery_that_is_killed_is_done_by_the_next(
    operation: Operation, template: World, worlds: Path
) -> None:
    wrong: list[str] = []
    killed = killed_right_after_it_was_done(operation, template, worlds)
    recording = Recording([])
    world = killed.again()
    with intercepted(world.base, recording):
        world.recover()
    effects = [effect for effect in recording.effects if effect.changes]
    world = killed.again()
    for point, left in each_kill(world, worlds, effects, world.recover):
        found = tidy(left) + violations(left) + complete(operation, left)
        wrong += [f"recovery of {operation.name}, killed {point}: {p}" for p in found]
    report(wrong)


class Killed:
    """A world, which can be had again and again at the same place."""

    def __init__(self, world: World) -> None:
        self._world, self._kept = world, world.copy_to(world.base.with_name("as-killed"))

    def again(self) -> World:
        self._world.remove()
        return self._kept.copy_to(self._world.base)


def killed_right_after_it_was_done(operation: Operation, template: World, worlds: Path) -> Killed:
    world = template.copy_to(worlds / "killed")
    killing = KillOnceDone(operation, world)
    assert in_a_child(world, killing, lambda: operation.run(world)) == KILLED
    assert operation.done(world)
    return Killed(world)
