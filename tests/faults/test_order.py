"""What is on disk before what: a power cut keeps all that was flushed, and may lose the rest."""

from __future__ import annotations

import os

import pytest

from .effects import MAKING, Effect, Recording, intercepted
from .operations import BUILDING, Operation
from .world import World

building = pytest.mark.parametrize("operation", BUILDING, ids=str, indirect=True)


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


@building
def test_all_of_it_is_flushed_before_it_can_be_seen(operation: Operation, template: World) -> None:
    effects = effects_of(operation, template)
    appears = appears_at(operation, template, effects)
    before = effects[:appears]
    written = [
        i
        for i, effect in enumerate(before)
        if effect.function in ("write", "open", "symlink", "mkdir", "link")
        and "/tree" in effect.made
        and end_of(effect, before[i + 1 :])
    ]
    assert written
    unflushed = [before[i] for i in written if not is_flushed(before[i], before[i + 1 :])]
    assert not unflushed, [str(effect) for effect in unflushed]


def is_flushed(written: Effect, later: list[Effect]) -> bool:
    """Whether the whole filesystem was flushed, or that file, or that entry of a directory."""
    place = written.made
    of_content = written.function in ("write", "utime")
    for effect in later:
        if effect.function == "rename":
            place = moved(place, effect)
        elif effect.function == "syncfs" or (
            effect.function == "fsync"
            and effect.place == (place if of_content else os.path.dirname(place))
        ):
            return True
    return False


def moved(place: str, rename: Effect) -> str:
    """Where what was at ``place`` is after the renaming."""
    old = rename.place
    return rename.made + place[len(old) :] if f"{place}/".startswith(f"{old}/") else place


def end_of(written: Effect, later: list[Effect]) -> str:
    """Where that which was made is in the end; empty if it was removed."""
    place = written.made
    for effect in later:
        if effect.function == "rename":
            place = moved(place, effect)
        elif effect.function in ("unlink", "rmdir") and effect.place == place:
            return ""
    return place


def test_what_stays_in_the_registry_is_flushed_before_it_is_acknowledged(
    operation: Operation, template: World
) -> None:
    effects = effects_of(operation, template)
    later = [effects[i + 1 :] for i in range(len(effects))]
    staying = [
        (effect, rest)
        for effect, rest in zip(effects, later, strict=True)
        if effect.function in (*MAKING, "utime")
        and is_at(end_of(effect, rest), template)
        and not os.path.basename(effect.made).startswith("..LOCK")
    ]
    unflushed = [str(effect) for effect, rest in staying if not is_flushed(effect, rest)]
    removed = [
        (effect, rest)
        for effect, rest in zip(effects, later, strict=True)
        if is_at(effect.place, template)
        and (
            effect.function == "unlink"
            or (effect.function == "rename" and not is_at(effect.made, template))
        )
    ]
    unflushed += [
        str(effect)
        for effect, rest in removed
        if not has_flushed(os.path.dirname(effect.place), rest)
    ]
    assert staying or removed
    assert not unflushed


def is_at(place: str, world: World) -> bool:
    """Whether ``place`` is in the registry, and not in a workspace."""
    root = str(world.registry)
    return place.startswith(f"{root}/") and not place.startswith(f"{root}/..incoming/")


def has_flushed(place: str, effects: list[Effect]) -> bool:
    """Whether ``place`` itself is flushed, or the filesystem."""
    return any(
        effect.function == "syncfs" or (effect.function == "fsync" and effect.place == place)
        for effect in effects
    )


@building
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
