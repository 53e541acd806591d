"""A process that was taken for dead comes back, where locks exclude nobody."""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from gobbler.errors import GobblerError, Missing
from gobbler.fs import lease
from gobbler.fs.flush import Durability
from gobbler.fs.lease import Holder, this_process
from gobbler.registry.recovery import remove_workspace
from gobbler.registry.registry import Registry
from gobbler.registry.workspace import new_workspace_name
from gobbler.service import job_runner

from .checks import complete, report
from .effects import Effect, intercepted, seen
from .moments import changes
from .operations import Operation
from .sampling import sampled
from .spooling import SCENES, Scene, problems, state, work
from .test_spool import a_world
from .test_spool import changes as spool_changes
from .world import Observer, World, violations


class Stop:
    """Stops this process before the call that makes the n-th change."""

    def __init__(self, change: int) -> None:
        self._change = change

    def __call__(self, effect: Effect) -> None:
        if effect.change == self._change:
            os.kill(os.getpid(), signal.SIGSTOP)


class Stopped:
    """A process that does ``work`` and is stopped before one of its changes."""

    def __init__(self, world: World, change: int, work: Callable[[], object]) -> None:
        self._child = os.fork()
        if self._child == 0:
            try:
                with intercepted(world.base, Stop(change)):
                    work()
            except (GobblerError, OSError):
                pass
            finally:
                os._exit(0)
        _, status = os.waitpid(self._child, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        self._is_stopped = True

    def come_back(self) -> None:
        """Let it go on, and wait for its end."""
        if self._is_stopped:
            self._is_stopped = False
            os.kill(self._child, signal.SIGCONT)
            _, status = os.waitpid(self._child, 0)
            assert os.waitstatus_to_exitcode(status) == 0


class Resuming(Observer):
    """Lets the stopped process go on when its successor has copied something."""

    def __init__(self, stopped: Stopped) -> None:
        self._stopped = stopped

    def advance(self, files: int, size: int) -> None:
        self._stopped.come_back()


def is_of_another(descriptor: int, *arguments: object, **options: object) -> bool:
    """Every lease of another process has expired, as after a long silence."""
    if os.fstat(descriptor).st_nlink == 0:
        return False
    try:
        return msgspec.json.decode(os.pread(descriptor, 4096, 0), type=Holder) != this_process()
    except msgspec.DecodeError:
        return True


@pytest.fixture(autouse=True)
def locks_exclude_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", lambda *arguments: None)


@contextmanager
def others_seem_dead() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(lease, "is_expired", is_of_another)
        yield


@pytest.mark.parametrize("when", ["afterwards", "meanwhile"])
def test_whoever_comes_back_changes_nothing(
    operation: Operation, template: World, worlds: Path, when: str
) -> None:
    wrong: list[str] = []
    answer = operation.run(template.copy_to(worlds / "answer"))
    rehearsal, workspace = template.copy_to(worlds / "rehearsal"), new_workspace_name()
    for effect in sampled(seen(changes(operation, rehearsal, workspace)), operation.name):
        world = template.copy_to(worlds / f"{effect.number}")
        stopped = Stopped(
            world,
            effect.change,
            lambda: operation.run(world, workspace=workspace),  # noqa: B023 - called at once
        )
        observer = Resuming(stopped) if when == "meanwhile" else Observer()
        found = []
        with others_seem_dead():
            if operation.run(world, observer, workspace=workspace) != answer:
                found.append("the answer is another")
        stopped.come_back()
        remove_workspace(Registry(str(world.registry)), Durability.FULL, workspace)
        world.recover()
        found += violations(world) + complete(operation, world)
        found += [f"{name} is left behind" for name in world.incoming()]
        wrong += [f"{operation.name}, stopped before {effect}: {problem}" for problem in found]
        world.remove()
    report(wrong)


@pytest.mark.parametrize("scene", SCENES, ids=str)
def test_a_worker_that_comes_back_does_not_answer(
    scene: Scene, worlds: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_runner, "RETRY_PAUSE", 0)
    # Who was silent for so long looks at once whether the job is still its own.
    monkeypatch.setattr(job_runner, "REPORT_INTERVAL", 0)
    wrong: list[str] = []
    for effect in sampled(seen(spool_changes(worlds, scene)), scene.name):
        world = a_world(worlds, scene, "world")
        stopped = Stopped(world, effect.change, lambda: work(world))  # noqa: B023 - see above
        with others_seem_dead():
            work(world)
        before = as_answered(world)
        stopped.come_back()
        found = [] if as_answered(world) == before else ["the answer is another now"]
        work(world)
        found += problems(world, scene) + violations(world)
        wrong += [f"{scene.name}, stopped before {effect}: {problem}" for problem in found]
    report(wrong)


def as_answered(world: World) -> object:
    try:
        return state(world).answer
    except Missing:
        return None
