"""Whatever call on the filesystem fails: all or nothing, and nothing is left behind."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

from gobbler.errors import GobblerError

from .checks import complete, report, tidy, tried_again, unchanged
from .effects import Failure, intercepted
from .operations import Operation
from .sampling import STEP
from .world import World, violations

ALIKE = (
    *("upload with deduplication", "upload that consumes own private files"),
    *("upload that consumes files of others", "upload by anyone"),
)

Points = Iterator[tuple[Failure, World, Exception | None]]


def each_failure(operation: Operation, template: World, worlds: Path) -> Points:
    """Run ``operation`` in a new world each time, the n-th call failing, for every n.

    Of those that are like others, but for the content of their files, only some calls.
    """
    for n in itertools.count(1, STEP if operation.name in ALIKE else 1):
        world = template.copy_to(worlds / str(n))
        failure = Failure(n)
        error: Exception | None = None
        with intercepted(world.base, failure):
            try:
                operation.run(world)
            except (GobblerError, OSError) as caught:
                error = caught
        if failure.failed is None:
            assert error is None
            assert n > 1
            return
        yield failure, world, error
        world.remove()


def test_one_failing_call_changes_nothing_or_does_not_matter(
    operation: Operation, template: World, worlds: Path
) -> None:
    registry, sources = template.published(), template.sources()
    before = violations(template)
    wrong: list[str] = []
    for failed, world, error in each_failure(operation, template, worlds):
        if error is None:
            found = violations(world) + complete(operation, world) + tidy(world)
        elif failed.flushing and operation.done(world):
            # It was done, but whether it would survive a power cut is not known.
            found = tidy(world) + violations(world) + complete(operation, world)
            if not isinstance(error, GobblerError) or "flush" not in error.reason:
                found.append("the reason does not say that only the flush failed")
        else:
            found = unchanged(world, registry, sources) + tidy(world)
            found += [] if violations(world) == before else violations(world)
            found += tried_again(operation, world) if not found else []
        wrong += [f"{operation.name}, {failed.failed}: {error!r}: {problem}" for problem in found]
    report(wrong)


def test_every_operation_gets_through_undisturbed(operation: Operation, template: World) -> None:
    assert tried_again(operation, template) == []
