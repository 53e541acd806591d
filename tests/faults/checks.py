"""The checks after a disturbance; each reports the problems that it finds."""

from __future__ import annotations

import pytest

from gobbler.errors import GobblerError

from .operations import Operation
from .world import Snapshot, World, violations


def report(wrong: list[str]) -> None:
    """Fail with a line for each point at which something is wrong."""
    if wrong:
        pytest.fail("\n".join([f"{len(wrong)} problems:", *wrong[:40]]), pytrace=False)


def unchanged(world: World, registry: Snapshot, sources: Snapshot) -> list[str]:
    """Nothing of the change can be seen."""
    found = []
    if (now := world.published()) != registry:
        paths = sorted(dict(now.items() ^ registry.items()))
        found.append(f"it was not done, but the registry has changed: {paths}")
    return found + untouched(world, sources)


def untouched(world: World, sources: Snapshot) -> list[str]:
    """Staging is as it was."""
    if (now := world.sources()) == sources:
        return []
    paths = sorted(dict(now.items() ^ sources.items()))
    return [f"it was not done, but the source has changed: {paths}"]


def complete(operation: Operation, world: World) -> list[str]:
    """The change has been made, with the right content."""
    if not operation.done(world):
        return ["it was not done"]
    if operation.content and world.content(operation.makes) != operation.content:
        return ["the content is another"]
    return []


def tidy(world: World) -> list[str]:
    """Nothing is left in the making, or recovery removes it."""
    if world.incoming():
        world.recover()
    return [f"{world.incoming()} is left behind"] if world.incoming() else []


def tried_again(operation: Operation, world: World) -> list[str]:
    """The same request succeeds."""
    try:
        operation.run(world)
    except (GobblerError, OSError) as error:
        return [f"trying again fails: {error!r}"]
    return violations(world) + complete(operation, world) + tidy(world)
