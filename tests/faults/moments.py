"""What a kill leaves at every moment: the world between two changes, as another process sees it.

Between two calls that change something the disk stays as it is. So one process that does the work
once, and copies its world before each of them, shows what killing it there leaves behind.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from gobbler.errors import GobblerError

from .effects import KILLED, Behaviour, Effect, Recording, intercepted, seen
from .operations import Operation
from .world import World


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


@dataclass
class Copying:
    """Copies a world before each change that others see, and in the midst of each write."""

    world: World
    to: Path

    def __call__(self, effect: Effect) -> None:
        if effect.is_seen:
            self.world.copy_to(self.to / f"{effect.change}")
            if effect.function == "write":
                self._tear(effect)

    def _tear(self, effect: Effect) -> None:
        """A copy in which half of a write is done."""
        copy = self.world.copy_to(self.to / f"{effect.change}-torn")
        descriptor, data = effect.arguments
        at = os.lseek(descriptor, 0, os.SEEK_CUR)
        if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_APPEND:
            at = os.fstat(descriptor).st_size
        inner = os.path.relpath(effect.place, self.world.base)
        with open(copy.base / inner, "r+b") as file:
            file.seek(at)
            file.write(bytes(data)[: len(data) // 2])


def each_kill(
    world: World, worlds: Path, effects: list[Effect], work: Callable[[], object]
) -> Iterator[tuple[str, World]]:
    """What is left, at the same place, when the process that does ``work`` in ``world`` is killed.

    ``effects``: its changes, of a rehearsal. What was killed is told with each.
    """
    kept = worlds / "kept"
    kept.mkdir()
    code = in_a_child(world, Copying(world, kept), work)
    assert code == 0, f"undisturbed, it ended with {code}"
    names = {f"{effect.change}": f"before {effect}" for effect in seen(effects)}
    writes = [effect for effect in effects if effect.function == "write"]
    names |= {f"{effect.change}-torn": f"in {effect}" for effect in writes}
    assert {path.name for path in kept.iterdir()} == set(names), "it went another way"
    for name, told in names.items():
        world.remove()
        # Records of what is to be done name absolute paths.
        (kept / name).rename(world.base)
        yield told, World(world.base)
    kept.rmdir()


@dataclass
class KillOnceDone:
    """Ends the process before the first change after its operation was done."""

    operation: Operation
    world: World

    def __call__(self, effect: Effect) -> None:
        if effect.changes and self.operation.done(self.world):
            os._exit(KILLED)
