"""Whenever the process is killed: what is seen is whole, and recovery puts the rest right.

Between two calls that change something the disk stays as it is, so killing before each of
them (and in the midst of each write) is killing everywhere.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gobbler.errors import GobblerError

from .changes import OPERATIONS
from .checks import complete, report, tidy, tried_again, unchanged
from .effects import (
    KILLED,
    Behaviour,
    Effect,
    Failure,
    Kill,
    LastingFailure,
    Recording,
    intercepted,
)
from .operations import Operation
from .world import Snapshot, World, violations


def in_a_child(world: World, behaviour: Behaviour, work: Callable[[], object]) -> int:
    """Do ``work`` in a process of its own; its exit code."""
    child = os.fork()
    if child == 0:
        code = 99
        try:
            with intercepted(world.base, behaviour):
                work()
            code = 0
        except (GobblerError, OSError):
            code = 1
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def changes(operation: Operation, world: World, workspace: str = "") -> list[Effect]:
    """The calls by which ``operation`` changes the disk; it is done in ``world``."""
    recording = Recording([])
    with intercepted(world.base, recording):
        operation.run(world, workspace=workspace)
    return [effect for effect in recording.effects if effect.changes]


def each_kill(operation: Operation, template: World, worlds: Path) -> Iterator[tuple[str, World]]:
    for effect in changes(operation, template.copy_to(worlds / "rehearsal")):
        for torn in (False, True) if effect.function == "write" else (False,):
            world = template.copy_to(worlds / f"{effect.number}{torn}")
            code = in_a_child(world, Kill(effect.change, torn), lambda: operation.run(world))  # noqa: B023
            assert code == KILLED, f"{effect}: ended with {code}"
            yield f"{operation.name}, killed {'in' if torn else 'before'} {effect}", world
            world.remove()


def test_a_kill_at_any_call_is_put_right_by_recovery(
    operation: Operation, template: World, worlds: Path
) -> None:
    registry, sources = template.published(), template.sources()
    wrong: list[str] = []
    before = violations(template)
    for point, world in each_kill(operation, template, worlds):
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
        wrong += [f"{point}: {problem}" for problem in found]
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
    for effect in changes(operation, template.copy_to(worlds / "rehearsal")):
        world = template.copy_to(worlds / str(effect.number))
        failure = LastingFailure(effect.change)
        assert in_a_child(world, failure, lambda: operation.run(world)) in (0, 1)  # noqa: B023
        found = tidy(world)
        if operation.done(world):
            found += violations(world) + complete(operation, world)
        else:
            found += unchanged(world, registry, sources)
            found += tried_again(operation, world) if not found else []
        wrong += [f"{operation.name}, {effect} and all later: {problem}" for problem in found]
        world.remove()
    report(wrong)


def test_a_recovery_that_fails_leaves_all_to_the_next(
    operation: Operation, template: World, worlds: Path
) -> None:
    wrong: list[str] = []
    killed = killed_right_after_it_was_done(operation, template, worlds)
    for n in itertools.count(1):
        world = killed.copy_to(worlds / str(n))
        failure = Failure(n)
        with intercepted(world.base, failure), contextlib.suppress(OSError):
            world.recover()
        if failure.failed is None:
            break
        found = tidy(world) + violations(world) + complete(operation, world)
        wrong += [f"recovery of {operation.name}, {failure.failed}: {p}" for p in found]
        world.remove()
    assert n > 1
    report(wrong)


KINDS = (
    *("upload of a new asset", "upload that consumes own files", "upload on probation"),
    *("delete_version", "approve_probation", "reindex_version", "reroute_links"),
)
"""Operations that leave different things to recovery."""


@pytest.mark.parametrize(
    "operation", [op for op in OPERATIONS if op.name in KINDS], ids=str, indirect=True
)
def test_a_recovery_that_is_killed_is_done_by_the_next(
    operation: Operation, template: World, worlds: Path
) -> None:
    wrong: list[str] = []
    killed = killed_right_after_it_was_done(operation, template, worlds)
    recording = Recording([])
    rehearsal = killed.copy_to(worlds / "recovered")
    with intercepted(rehearsal.base, recording):
        rehearsal.recover()
    for effect in [effect for effect in recording.effects if effect.changes]:
        world = killed.copy_to(worlds / f"again{effect.number}")
        assert in_a_child(world, Kill(effect.change), world.recover) == KILLED
        found = tidy(world) + violations(world) + complete(operation, world)
        wrong += [f"recovery of {operation.name}, killed before {effect}: {p}" for p in found]
        world.remove()
    report(wrong)


def killed_right_after_it_was_done(operation: Operation, template: World, worlds: Path) -> World:
    for effect in changes(operation, template.copy_to(worlds / "rehearsal")):
        world = template.copy_to(worlds / f"killed{effect.number}")
        in_a_child(world, Kill(effect.change), lambda: operation.run(world))  # noqa: B023
        if operation.done(world):
            return world
        world.remove()
    raise AssertionError("it was never done")
