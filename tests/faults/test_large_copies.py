"""A large file is copied in pieces: whoever ends or stops at any call, the version is whole."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gobbler.fs import hash as hashing
from gobbler.fs import lease
from gobbler.fs.flush import Durability
from gobbler.registry.recovery import remove_workspace
from gobbler.registry.registry import Registry
from gobbler.registry.workspace import new_workspace_name
from gobbler.transfer import piece_record

from .checks import complete, report
from .effects import KILLED, Effect, Kill, Recording, intercepted, seen
from .moments import in_a_child
from .operations import upload
from .sampling import sampled
from .test_fencing import Resuming, Stopped, is_of_another
from .world import Observer, World, violations

CHUNK = 4096
LARGE = {"big": os.urandom(9 * CHUNK + 5), "x.csv": b"one,two"}
UPLOAD = upload("upload of a large file", "p/a/9", dict(LARGE), LARGE)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (hashing, piece_record):
        monkeypatch.setattr(module, "CHUNK", CHUNK)
    monkeypatch.setattr(piece_record, "PIECE_BYTES", 2 * CHUNK)
    monkeypatch.setattr(piece_record, "RECORDED_BYTES", 4 * CHUNK)


@pytest.fixture
def template(worlds: Path) -> World:
    world = World(worlds / "template")
    UPLOAD.prepare(world)
    return world


def changes(world: World, workspace: str) -> list[Effect]:
    recording = Recording([])
    with intercepted(world.base, recording):
        UPLOAD.run(world, workspace=workspace)
    return [effect for effect in recording.effects if effect.changes]


def killed(world: World, change: int, workspace: str) -> int:
    return in_a_child(world, Kill(change), lambda: UPLOAD.run(world, workspace=workspace))


def problems(world: World, workspace: str) -> list[str]:
    remove_workspace(Registry(str(world.registry)), Durability.FULL, workspace)
    world.recover()
    found = violations(world) + complete(UPLOAD, world)
    return found + [f"{name} is left behind" for name in world.incoming()]


def half_done(template: World, worlds: Path, name: str, workspace: str) -> World:
    """A world in which a process was killed when it had copied some pieces."""
    rehearsal = changes(template.copy_to(worlds / f"{name}-rehearsal"), workspace)
    notes = [e for e in rehearsal if e.function == "write" and e.made.endswith(".pieces")]
    world = template.copy_to(worlds / name)
    assert killed(world, notes[3].change, workspace) == KILLED
    return world


def test_a_large_upload_that_is_killed_twice_at_any_calls_is_completed(
    template: World, worlds: Path
) -> None:
    wrong: list[str] = []
    workspace = new_workspace_name()
    points = changes(template.copy_to(worlds / "rehearsal"), workspace)
    for effect in sampled(seen(points), UPLOAD.name):
        world = template.copy_to(worlds / f"{effect.number}")
        assert killed(world, effect.change, workspace) == KILLED
        # The second one ends elsewhere; at 7 steps of 10 before it is done.
        killed(world, 1 + effect.change * 7 % len(points), workspace)
        UPLOAD.run(world, workspace=workspace)
        wrong += [f"killed before {effect}: {p}" for p in problems(world, workspace)]
        world.remove()
    report(wrong)


@pytest.mark.parametrize("when", ["afterwards", "meanwhile"])
@pytest.mark.parametrize("attempt", ["the first", "a resumed one"])
def test_a_stopped_copy_that_goes_on_later_spoils_nothing(
    template: World, worlds: Path, monkeypatch: pytest.MonkeyPatch, when: str, attempt: str
) -> None:
    """Where locks exclude nobody: it has the file open that its successor must not use."""
    monkeypatch.setattr(fcntl, "flock", lambda *arguments: None)
    wrong: list[str] = []
    workspace = new_workspace_name()

    def begin(name: str) -> World:
        if attempt == "the first":
            return template.copy_to(worlds / name)
        return half_done(template, worlds, name, workspace)

    for effect in sampled(seen(changes(begin("rehearsal"), workspace)), attempt + when):
        world = begin(f"{effect.number}")
        stopped = Stopped(
            world,
            effect.change,
            lambda: UPLOAD.run(world, workspace=workspace),  # noqa: B023 - called at once
        )
        observer = Resuming(stopped) if when == "meanwhile" else Observer()
        with monkeypatch.context() as patched:
            patched.setattr(lease, "is_expired", is_of_another)
            UPLOAD.run(world, observer, workspace=workspace)
        stopped.come_back()
        found = problems(world, workspace)
        wrong += [f"{attempt}, stopped before {effect}: {p}" for p in found]
        world.remove()
    report(wrong)


def test_what_was_written_is_not_written_again(template: World, worlds: Path) -> None:
    workspace = new_workspace_name()
    world = half_done(template, worlds, "world", workspace)
    (copy,) = (world.registry / "..incoming" / workspace).glob("*/tree/big")
    inode = copy.stat().st_ino
    recording = Recording([])
    with intercepted(world.base, recording):
        UPLOAD.run(world, workspace=workspace)
    assert (world.registry / "p/a/9/big").stat().st_ino == inode
    written = [e for e in recording.effects if e.function == "write" and e.made.endswith("/big")]
    assert sum(len(e.arguments[1]) for e in written) == len(LARGE["big"]) - 4 * CHUNK
    assert problems(world, workspace) == []


SPOILED: dict[str, Callable[[bytes], bytes]] = {
    "is empty": lambda content: b"",
    "ends early": lambda content: content[:CHUNK],
    "has zeros in the middle": lambda c: c[: 2 * CHUNK] + bytes(CHUNK) + c[3 * CHUNK :],
    "is all of something else": lambda content: bytes(len(content)),
    "is too long": lambda content: content + b"?" * CHUNK * 20,
}


@pytest.mark.parametrize("spoil", SPOILED.values(), ids=list(SPOILED))
def test_a_copy_that_is_damaged_is_put_right(
    template: World, worlds: Path, spoil: Callable[[bytes], bytes]
) -> None:
    workspace = new_workspace_name()
    world = half_done(template, worlds, "world", workspace)
    (copy,) = (world.registry / "..incoming" / workspace).glob("*/tree/big")
    copy.write_bytes(spoil(copy.read_bytes()))
    UPLOAD.run(world, workspace=workspace)
    assert problems(world, workspace) == []


def test_a_source_that_has_changed_since_is_copied_as_it_is_now(
    template: World, worlds: Path
) -> None:
    workspace = new_workspace_name()
    world = half_done(template, worlds, "world", workspace)
    source = world.staging / "source/big"
    times, other = source.stat(), LARGE["big"][::-1]
    with source.open("r+b") as file:  # the same inode, size and time of modification
        file.write(other)
    os.utime(source, ns=(times.st_atime_ns, times.st_mtime_ns))
    UPLOAD.run(world, workspace=workspace)
    assert world.content("p/a/9") == {**LARGE, "big": other}
    assert violations(world) == []
