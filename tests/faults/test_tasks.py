"""A task whose process is killed at any call is taken up again, and is done once."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from gobbler.fs.flush import Durability
from gobbler.registry.recovery import forget_workspace
from gobbler.registry.registry import Registry
from gobbler.registry.workspace import WorkspaceInUse, new_workspace, new_workspace_name

from .checks import complete, report
from .effects import KILLED, Kill, Recording
from .operations import PLAIN, PLAIN_SOURCE, Operation, upload
from .sampling import sampled
from .test_kills import changes, in_a_child
from .world import Observer, World, violations


def test_what_was_killed_at_any_call_is_gone_on_with(
    operation: Operation, template: World, worlds: Path
) -> None:
    wrong: list[str] = []
    rehearsal = template.copy_to(worlds / "rehearsal")
    answer = operation.run(template.copy_to(worlds / "answer"))
    task = new_workspace_name()
    for effect in sampled(changes(operation, rehearsal, task), operation.name):
        world = template.copy_to(worlds / f"{effect.number}")
        code = in_a_child(world, Kill(effect.change), lambda: operation.run(world, task=task))  # noqa: B023
        assert code == KILLED, f"{effect}: ended with {code}"
        if effect.number % 2:
            world.recover()  # by another service, which must leave the task to its worker
        found = []
        if operation.run(world, task=task) != answer:
            found.append("the answer is another")
        forget_workspace(Registry(str(world.registry)), Durability.FULL, task)
        found += violations(world) + complete(operation, world)
        found += [f"{name} is left behind" for name in world.incoming()]
        wrong += [f"{operation.name}, killed before {effect}: {problem}" for problem in found]
        world.remove()
    report(wrong)


class EndsBeforePublication(Observer):
    """Ends the process when all files have been copied."""

    def __init__(self, files: int) -> None:
        self._missing = files

    def advance(self, files: int, size: int) -> None:
        self._missing -= files

    def check(self) -> None:
        if not self._missing:
            os._exit(KILLED)


@pytest.fixture
def interrupted(worlds: Path) -> tuple[Operation, World, str]:
    """An upload whose process ended when all had been copied, and its task."""
    operation = upload("a plain upload", "p/a/9", PLAIN_SOURCE, PLAIN)
    world, task = World(worlds / "world"), new_workspace_name()
    operation.prepare(world)
    observer = EndsBeforePublication(len(PLAIN))
    code = in_a_child(world, Recording([]), lambda: operation.run(world, observer, task=task))
    assert code == KILLED
    return operation, world, task


def inodes(directory: Path) -> dict[str, int]:
    return {path: os.stat(directory / path).st_ino for path in PLAIN}


def test_what_was_copied_is_not_copied_again(interrupted: tuple[Operation, World, str]) -> None:
    operation, world, task = interrupted
    copies = inodes(world.registry / "..incoming" / task / "tree")
    operation.run(world, task=task)
    assert inodes(world.registry / "p/a/9") == copies
    assert world.content("p/a/9") == PLAIN
    assert not violations(world)


@pytest.mark.parametrize("content", [b"", b"one,", b"two,one", b"one,two and more"])
def test_a_copy_that_is_not_whole_is_made_anew(
    interrupted: tuple[Operation, World, str], content: bytes
) -> None:
    operation, world, task = interrupted
    (world.registry / "..incoming" / task / "tree/x.csv").write_bytes(content)
    operation.run(world, task=task)
    assert world.content("p/a/9") == PLAIN
    assert not violations(world)


def test_a_source_that_has_changed_meanwhile_is_taken_as_it_is_now(
    interrupted: tuple[Operation, World, str],
) -> None:
    operation, world, task = interrupted
    source = world.staging / "source"
    (source / "x.csv").write_bytes(b"now,this")
    (source / "d/y.csv").unlink()
    (source / "d/y.csv").symlink_to("e/z.bin")
    (source / "empty").rmdir()
    operation.run(world, task=task)
    zeros = PLAIN["d/e/z.bin"]
    assert world.content("p/a/9") == {"x.csv": b"now,this", "d/y.csv": zeros, "d/e/z.bin": zeros}
    assert not violations(world)


def test_a_task_that_somebody_is_at_is_not_begun(interrupted: tuple[Operation, World, str]) -> None:
    operation, world, task = interrupted
    with new_workspace(str(world.registry), task, resume=True), pytest.raises(WorkspaceInUse):
        operation.run(world, task=task)
    assert not operation.done(world)


def test_a_sweep_leaves_tasks_until_they_are_old(
    interrupted: tuple[Operation, World, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    operation, world, task = interrupted
    assert world.recover() == (0, 0)
    assert task in world.incoming()
    later = time.time_ns() + 9 * 24 * 3600 * 10**9
    monkeypatch.setattr(time, "time_ns", lambda: later)
    assert world.recover() == (0, 1)
    assert world.incoming() == []
    assert not operation.done(world)


def test_an_answer_is_kept_until_it_is_forgotten_or_old(
    interrupted: tuple[Operation, World, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    operation, world, task = interrupted
    assert operation.run(world, task=task) == {}
    assert world.incoming() == [f"{task}.done"]
    world.recover()
    assert operation.run(world, task=task) == {}
    later = time.time_ns() + 9 * 24 * 3600 * 10**9
    monkeypatch.setattr(time, "time_ns", lambda: later)
    world.recover()
    assert world.incoming() == []
