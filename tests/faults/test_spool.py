"""A job whose worker is killed, or fails, at any call is done once by the next, and answered."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import pytest
from msgspec import UNSET

from gobbler.errors import Missing
from gobbler.service import job_runner, scheduler
from gobbler.spool import backlog

from .checks import report
from .effects import KILLED, Effect, Failure, Kill, LastingFailure, Recording, intercepted, seen
from .moments import in_a_child
from .sampling import STEP, sampled
from .spooling import SCENES, Scene, is_published, prepare, problems, spool_of, state, work
from .world import World, violations


@pytest.fixture(autouse=True)
def _without_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_runner, "RETRY_PAUSE", 0)
    # A slow machine would report progress, and so make other calls than the rehearsal.
    monkeypatch.setattr(job_runner, "REPORT_INTERVAL", 3600)
    monkeypatch.setattr(scheduler, "FIRST_RETRY", 0)
    monkeypatch.setattr(backlog, "LOOK_PAUSE", 0)


def a_world(worlds: Path, scene: Scene, name: str) -> World:
    """A world in which ``scene`` waits. It is built each time, since a copy has other inodes."""
    world = World(worlds / name)
    if world.base.exists():
        shutil.rmtree(world.base)
    prepare(world)
    scene.set_up(world)
    return world


def changes(worlds: Path, scene: Scene) -> list[Effect]:
    world = a_world(worlds, scene, "rehearsal")
    recording = Recording([])
    with intercepted(world.base, recording):
        work(world)
    found = problems(world, scene) + violations(world)
    assert not found, found
    return [effect for effect in recording.effects if effect.changes]


@pytest.mark.parametrize("scene", SCENES, ids=str)
def test_a_kill_at_any_call_loses_nothing_and_doubles_nothing(scene: Scene, worlds: Path) -> None:
    wrong: list[str] = []
    for effect in sampled(seen(changes(worlds, scene)), scene.name):
        for torn in (False, True) if effect.function == "write" else (False,):
            world = a_world(worlds, scene, "world")
            code = in_a_child(world, Kill(effect.change, torn), lambda: work(world))  # noqa: B023
            assert code == KILLED, f"{effect}: ended with {code}"
            if effect.number % 2:
                world.recover()  # by another service, which leaves the job to a worker
            found = unknown(world)
            work(world)
            found += problems(world, scene) + violations(world)
            wrong += [f"{scene.name}, killed before {effect}: {problem}" for problem in found]
    report(wrong)


def unknown(world: World) -> list[str]:
    try:
        state(world)
    except Missing as error:
        return [f"a client gets: {error}"]
    return []


@pytest.mark.parametrize("scene", SCENES, ids=str)
def test_two_kills_are_like_one(scene: Scene, worlds: Path) -> None:
    wrong: list[str] = []
    effects = seen(changes(worlds, scene))
    for first, second in zip(effects[::3], effects[1::3], strict=False):
        world = a_world(worlds, scene, "world")
        for effect in (first, second):
            code = in_a_child(world, Kill(effect.change), lambda: work(world))  # noqa: B023
            assert code in (KILLED, 0)
        work(world)
        found = problems(world, scene) + violations(world)
        wrong += [f"{scene.name}, killed before {first}, {second}: {p}" for p in found]
    report(wrong)


@pytest.mark.parametrize("scene", SCENES, ids=str)
def test_a_call_that_fails_leaves_an_answer(scene: Scene, worlds: Path) -> None:
    wrong: list[str] = []
    for n in itertools.count(1, STEP):
        world = a_world(worlds, scene, "world")
        failure = Failure(n)
        with intercepted(world.base, failure):
            work(world)
        if failure.failed is None:
            break
        work(world)
        found = as_told(world, scene) + violations(world)
        wrong += [f"{scene.name}, {failure.failed} failed: {problem}" for problem in found]
    assert n > 20
    report(wrong)


@pytest.mark.parametrize("scene", SCENES, ids=str)
def test_a_disk_that_fails_for_good_loses_nothing(scene: Scene, worlds: Path) -> None:
    wrong: list[str] = []
    for effect in sampled(changes(worlds, scene), scene.name):
        world = a_world(worlds, scene, "world")
        with intercepted(world.base, LastingFailure(effect.change)):
            work(world)
        work(world)
        found = as_told(world, scene) + violations(world)
        wrong += [f"{scene.name}, {effect} and all later failed: {problem}" for problem in found]
    report(wrong)


def as_told(world: World, scene: Scene) -> list[str]:
    """Problems, unless the job has failed for the fault, and nothing was changed."""
    ended = state(world)
    if ended.answer is UNSET:
        return [f"it is still {ended.state}"]
    reason = str(ended.answer.get("reason", ""))
    if ended.state == "failed" and ("Input/output" in reason or "No space" in reason):
        if "could not be flushed" in reason:
            assert is_published(world)
            return []
        reported = Scene(scene.name, scene.set_up, "failed", reason)
        return problems(world, reported)
    return problems(world, scene)


def test_an_answer_that_is_there_is_believed_though_its_state_is_not(worlds: Path) -> None:
    """After a power cut: what was not flushed may be empty."""
    world = a_world(worlds, SCENES[0], "world")
    work(world)
    cur = Path(spool_of(world).cur)
    (reported,) = cur.glob("*.state")
    reported.write_bytes(b"")
    assert state(world).state == "done"
    assert state(world).action == "upload"
