"""What is on disk before what: a power cut keeps all that was flushed, and may lose the rest."""

from __future__ import annotations

import os

import pytest

from .effects import Effect, Recording, intercepted
from .operations import BUILDING, Operation
from .world import World

pytestmark = pytest.mark.parametrize("operation", BUILDING, ids=str, indirect=True)

BRINGING = ("rename", "link")


def effects_of(operation: Operation, world: World) -> list[Effect]:
    recording = Recording([])
    with intercepted(world.base, recording):
        operation.run(world)
    return [effect for effect in recording.effects if effect.changes]


def appears_at(operation: Operation, world: World, effects: list[Effect]) -> int:
    """The position of the call by which the change becomes visible."""
    asset = operation.makes.rpartition("/")[0]
    places = {str(world.registry / operation.makes), str(world.registry / asset)}
    found = [
        i
        for i, effect in enumerate(effects)
        if effect.function == "rename" and effect.arguments[1] in places
    ]
    assert len(found) == 1, found
    return found[0]


def test_all_of_it_is_flushed_before_it_can_be_seen(operation: Operation, template: World) -> None:
    effects = effects_of(operation, template)
    appears = appears_at(operation, template, effects)
    before = effects[:appears]
    written = [
        i
        for i, effect in enumerate(before)
        if effect.function in ("write", "open", "symlink", "mkdir", "link")
        and "/tree" in f"{effect.place} {effect.arguments[1]!s}"
    ]
    assert written
    unflushed = [before[i] for i in written if not is_flushed(before[i], before[i + 1 :])]
    assert not unflushed, [str(effect) for effect in unflushed]


def is_flushed(written: Effect, later: list[Effect]) -> bool:
    """Whether the whole filesystem was flushed, or that file, or that entry of a directory."""
    made = written.arguments[1] if written.function in ("link", "symlink") else written.place
    place = written.place if written.function == "write" else os.path.dirname(str(made))
    return any(
        effect.function == "syncfs" or (effect.function == "fsync" and effect.place == place)
        for effect in later
    )


def test_it_is_flushed_again_before_it_is_acknowledged(
    operation: Operation, template: World
) -> None:
    effects = effects_of(operation, template)
    last = max(
        i
        for i, effect in enumerate(effects)
        if effect.function in BRINGING
        and str(effect.arguments[1]).startswith(str(template.registry))
        and "..incoming" not in str(effect.arguments[1])
    )
    assert any(effect.function in ("syncfs", "fsync") for effect in effects[last:])


def test_the_source_goes_and_the_intent_goes_only_after_that(
    operation: Operation, template: World
) -> None:
    effects = effects_of(operation, template)
    appears = appears_at(operation, template, effects)
    flushes = [i for i, e in enumerate(effects) if e.function in ("syncfs", "fsync")]
    flushed = next(i for i in flushes if i > appears)
    gone = [
        i
        for i, effect in enumerate(effects)
        if effect.function == "unlink"
        and ("staging" in effect.place or effect.place.endswith("/intent"))
    ]
    assert all(i > flushed for i in gone), [str(effects[i]) for i in gone]
    assert gone
