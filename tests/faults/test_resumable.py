"""A process that is killed at any call leaves a resumable workspace; the change is made once."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import NoReturn

import pytest

from gobbler.errors import Code, Fault
from gobbler.fs.flush import Durability
from gobbler.registry import publish
from gobbler.registry.recovery import remove_workspace
from gobbler.registry.registry import Registry
from gobbler.registry.workspace import WorkspaceInUse, new_workspace, new_workspace_name
from gobbler.transfer import copy_state

from .checks import complete, report
from .effects import KILLED, Kill, Recording, intercepted, seen
from .moments import changes, in_a_child
from .operations import PLAIN, PLAIN_SOURCE, Operation, upload
from .sampling import sampled
from .world import Observer, World, violations


def test_work_that_was_killed_at_any_call_is_resumed(
    operation: Operation, template: World, worlds: Path
) -> None:
    wrong: list[str] = []
    rehearsal = template.copy_to(worlds / "rehearsal")
    answer = operation.run(template.copy_to(worlds / "answer"))
    workspace = new_workspace_name()
    for effect in sampled(seen(changes(operation, rehearsal, workspace)), operation.name):
        world = template.copy_to(worlds / f"{effect.number}")
        code = in_a_child(
            world,
            Kill(effect.change),
            lambda: operation.run(world, workspace=workspace),  # noqa: B023 - called at once
        )
        assert code == KILLED, f"{effect}: ended with {code}"
        if effect.number % 2:
            world.recover()  # by another service, which must keep a resumable workspace
        found = []
        if essential(operation.run(world, workspace=workspace)) != essential(answer):
            found.append("the answer is another")
        remove_workspace(Registry(str(world.registry)), Durability.FULL, workspace)
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
    """An upload whose process ended when all had been copied, and its workspace."""
    operation = upload("a plain upload", "p/a/9", PLAIN_SOURCE, PLAIN)
    world, workspace = World(worlds / "world"), new_workspace_name()
    operation.prepare(world)
    observer = EndsBeforePublication(len(PLAIN))
    code = in_a_child(
        world, Recording([]), lambda: operation.run(world, observer, workspace=workspace)
    )
    assert code == KILLED
    return operation, world, workspace


def tree_of(world: World, workspace: str) -> Path:
    """The tree of the only attempt at a resumable workspace."""
    (tree,) = (world.registry / "..incoming" / workspace).glob("*/tree")
    return tree


def inodes(directory: Path) -> dict[str, int]:
    return {path: os.stat(directory / path).st_ino for path in PLAIN}


def test_what_was_copied_is_not_copied_again(interrupted: tuple[Operation, World, str]) -> None:
    operation, world, workspace = interrupted
    copies = inodes(tree_of(world, workspace))
    operation.run(world, workspace=workspace)
    assert inodes(world.registry / "p/a/9") == copies
    assert world.content("p/a/9") == PLAIN
    assert not violations(world)


def resumed(world: World, operation: Operation, workspace: str) -> set[str]:
    """Resume the upload; which copies were read for that."""
    recording = Recording([])
    with intercepted(world.base, recording):
        operation.run(world, workspace=workspace)
    reads = {
        e.place for e in recording.effects if e.function in ("read", "readv", "pread", "preadv")
    }
    return {path for path in reads if "/tree/" in path and path.endswith(tuple(PLAIN))}


def test_what_only_the_service_can_have_written_is_not_read_again(
    interrupted: tuple[Operation, World, str],
) -> None:
    operation, world, workspace = interrupted
    assert resumed(world, operation, workspace) == set()
    assert world.content("p/a/9") == PLAIN


def test_a_list_of_an_earlier_release_counts(
    interrupted: tuple[Operation, World, str],
) -> None:
    operation, world, workspace = interrupted
    taken = tree_of(world, workspace).parent / "taken"
    lines = [json.loads(line)[:5] for line in taken.read_text().splitlines()]
    taken.write_text("".join(json.dumps(line) + "\n" for line in lines))
    copies = inodes(tree_of(world, workspace))
    assert len(resumed(world, operation, workspace)) == len(PLAIN)
    assert inodes(world.registry / "p/a/9") == copies


@pytest.mark.parametrize("content", [PLAIN["x.csv"], b"\0" * len(PLAIN["x.csv"])], ids=repr)
def test_after_a_boot_a_copy_counts_if_its_content_is_right(
    interrupted: tuple[Operation, World, str], content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation, world, workspace = interrupted
    copy = tree_of(world, workspace) / "x.csv"
    before = copy.stat()
    copy.write_bytes(content)
    os.utime(copy, ns=(before.st_atime_ns, before.st_mtime_ns))
    monkeypatch.setattr(copy_state, "this_boot", lambda: "the next")
    assert len(resumed(world, operation, workspace)) == len(PLAIN)
    assert world.content("p/a/9") == PLAIN
    is_same = (world.registry / "p/a/9/x.csv").stat().st_ino == before.st_ino
    assert is_same == (content == PLAIN["x.csv"])
    assert not violations(world)


def test_an_upload_that_waited_too_long_for_a_lock_keeps_its_copies(
    worlds: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation = upload("a plain upload", "p/a/9", PLAIN_SOURCE, PLAIN)
    world, workspace = World(worlds / "world"), new_workspace_name()
    operation.prepare(world)
    found: list[dict[str, int]] = []

    def busy(*_: object) -> NoReturn:
        found.append(inodes(tree_of(world, workspace)))
        raise Fault("busy", code=Code.LOCK_TIMEOUT)

    with monkeypatch.context() as patched:
        patched.setattr(publish, "changing_asset", busy)
        with pytest.raises(Fault, match="busy"):
            operation.run(world, workspace=workspace)
    world.recover()  # by another service, meanwhile
    operation.run(world, workspace=workspace)
    assert [inodes(world.registry / "p/a/9")] == found
    assert world.content("p/a/9") == PLAIN
    remove_workspace(Registry(str(world.registry)), Durability.FULL, workspace)
    assert world.incoming() == []
    assert not violations(world)


def essential(answer: object) -> object:
    """``answer`` without its warnings: what is completed after a crash does not give them again."""
    if not isinstance(answer, dict):
        return answer
    return {field: value for field, value in answer.items() if field != "warnings"}


@pytest.mark.parametrize("content", [b"", b"one,", b"two,one", b"one,two and more"])
def test_a_copy_that_is_not_whole_is_made_again(
    interrupted: tuple[Operation, World, str], content: bytes
) -> None:
    operation, world, workspace = interrupted
    (tree_of(world, workspace) / "x.csv").write_bytes(content)
    operation.run(world, workspace=workspace)
    assert world.content("p/a/9") == PLAIN
    assert not violations(world)


def test_a_source_that_has_changed_meanwhile_is_taken_as_it_is_now(
    interrupted: tuple[Operation, World, str],
) -> None:
    operation, world, workspace = interrupted
    source = world.staging / "source"
    (source / "x.csv").write_bytes(b"now,this")
    (source / "d/y.csv").unlink()
    (source / "d/y.csv").symlink_to("e/z.bin")
    (source / "empty").rmdir()
    operation.run(world, workspace=workspace)
    zeros = PLAIN["d/e/z.bin"]
    assert world.content("p/a/9") == {"x.csv": b"now,this", "d/y.csv": zeros, "d/e/z.bin": zeros}
    assert not violations(world)


def test_a_workspace_in_use_is_not_resumed(interrupted: tuple[Operation, World, str]) -> None:
    operation, world, workspace = interrupted
    with new_workspace(str(world.registry), workspace, resume=True), pytest.raises(WorkspaceInUse):
        operation.run(world, workspace=workspace)
    assert not operation.done(world)


def test_recovery_keeps_resumable_workspaces_until_they_expire(
    interrupted: tuple[Operation, World, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    operation, world, workspace = interrupted
    assert world.recover() == (0, 0)
    assert workspace in world.incoming()
    later = time.time_ns() + 9 * 24 * 3600 * 10**9
    monkeypatch.setattr(time, "time_ns", lambda: later)
    assert world.recover() == (0, 1)
    assert world.incoming() == []
    assert not operation.done(world)


def test_an_answer_is_kept_until_it_is_removed_or_expires(
    interrupted: tuple[Operation, World, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    operation, world, workspace = interrupted
    assert operation.run(world, workspace=workspace) == {}
    assert world.incoming() == [f"{workspace}.done"]
    world.recover()
    assert operation.run(world, workspace=workspace) == {}
    later = time.time_ns() + 9 * 24 * 3600 * 10**9
    monkeypatch.setattr(time, "time_ns", lambda: later)
    world.recover()
    assert world.incoming() == []
