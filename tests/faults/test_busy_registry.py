"""Links are rerouted though others change the registry at the last moment, again and again."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gobbler.errors import Fault
from gobbler.registry.locks import changing_registry
from gobbler.registry.registry import Registry
from gobbler.transfer.dispatch import LIGHT_BYTES

from .checks import tidy, violations
from .effects import KILLED, Kill
from .moments import in_a_child
from .operations import Tree, of_version, plant
from .world import ADMIN, OWNER, World

SMALL, LARGE = b"only in version 0", b"x" * (LIGHT_BYTES + 1)


def publish(world: World, asset: str, version: str, tree: Tree) -> None:
    source = f"source-{asset}-{version}"
    plant(world.staging / source, tree)
    names = {"project": "p", "asset": asset, "version": version, "source": source}
    world.act("upload", names, OWNER)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Version 0 has two files; version 1 has links to them, and another asset has none."""
    made = World(tmp_path / "world")
    made.make()
    made.act("create_project", {"project": "p", "permissions": {"owners": [OWNER]}}, ADMIN)
    files: Tree = {"small": SMALL, "d/large": LARGE}
    publish(made, "a", "0", files)
    publish(made, "a", "1", files)
    publish(made, "other", "0", {"f": b"other"})
    return made


def link(world: World, path: str) -> Path:
    return world.registry / "p/a/0" / path


def unrelated(world: World, number: int) -> None:
    publish(world, "other", f"new-{number}", {"f": str(number).encode()})


def a_small_link(world: World, number: int) -> None:
    publish(world, "other", f"new-{number}", {"f": link(world, "small")})


def a_large_link_at_first(world: World, number: int) -> None:
    publish(world, "other", f"new-{number}", {"f": link(world, "d/large")} if number < 3 else {})


def the_same_files(world: World, number: int) -> None:
    publish(world, "a", f"new-{number}", {"small": SMALL, "d/large": LARGE})


def the_link_goes(world: World, number: int) -> None:
    world.act("delete_version", of_version("1"), ADMIN)
    publish(world, "other", f"new-{number}", {"f": link(world, "small")})


MEANWHILE: dict[str, Callable[[World, int], None]] = {
    "something else is published": unrelated,
    "a link to a small file is published": a_small_link,
    "links to a large file are published": a_large_link_at_first,
    "the same files are published": the_same_files,
    "a version with links is deleted": the_link_goes,
}


@contextmanager
def before_each_lock(act: Callable[[int], None]) -> Iterator[list[int]]:
    """Have ``act`` done right before the lock of the registry is taken; yields the calls."""
    calls: list[int] = []
    module = sys.modules["gobbler.actions.reroute_links"]
    real = changing_registry

    @contextmanager
    def locked(registry: Registry) -> Iterator[None]:
        calls.append(len(calls))
        act(calls[-1])
        with real(registry):
            yield

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "changing_registry", locked)
        yield calls


def reroute(world: World, **fields: Any) -> list[dict[str, Any]]:
    answer = world.act("reroute_links", {"to_delete": [of_version("0")], **fields}, ADMIN)
    changes = answer["changes"]
    assert isinstance(changes, list)
    return changes


@pytest.mark.parametrize("what", MEANWHILE)
def test_it_succeeds_when(world: World, what: str) -> None:
    with before_each_lock(lambda number: MEANWHILE[what](world, number)) as calls:
        changes = reroute(world)
    rounds = 4 if what == "links to a large file are published" else 1
    assert len(calls) == rounds
    assert changes
    assert violations(world) + tidy(world) == []
    world.act("delete_version", of_version("0"), ADMIN)
    assert violations(world) == []
    for change in changes:
        assert (world.registry / change["path"]).is_file()
        assert (world.registry / change["path"]).is_symlink() is not change["copy"]


def test_what_will_be_deleted_may_grow(world: World) -> None:
    a_small_link(world, 100)

    def act(number: int) -> None:
        the_same_files(world, number)
        tree: Tree = {"f": world.registry / f"p/a/new-{number}/small"}
        publish(world, "other", f"new-{number}", tree)

    asset = {"project": "p", "asset": "a"}
    with before_each_lock(act) as calls:
        changes = world.act("reroute_links", {"to_delete": [asset]}, ADMIN)["changes"]
    assert len(calls) == 1
    assert isinstance(changes, list)
    assert {change["path"] for change in changes} == {"p/other/new-0/f", "p/other/new-100/f"}
    world.act("delete_asset", asset, ADMIN)
    assert violations(world) + tidy(world) == []


def test_a_plan_without_changes_is_planned_again_too(world: World) -> None:
    reroute(world)
    with before_each_lock(lambda number: a_small_link(world, number)) as calls:
        assert reroute(world) == []
    assert calls == []


def test_it_does_not_hold_the_lock_for_copies_that_never_end(world: World) -> None:
    def act(number: int) -> None:
        publish(world, "other", f"new-{number}", {"f": link(world, "d/large")})

    with before_each_lock(act), pytest.raises(Fault, match="others published"):
        reroute(world)
    assert violations(world) + tidy(world) == []


def test_a_kill_after_it_was_planned_again_is_put_right(world: World, worlds: Path) -> None:
    for number in itertools.count(1, 5):
        copy = world.copy_to(worlds / str(number))

        def act(count: int, copy: World = copy) -> None:
            a_small_link(copy, count)

        def run(copy: World = copy, act: Callable[[int], None] = act) -> None:
            with before_each_lock(act):
                reroute(copy)

        code = in_a_child(copy, Kill(number), run)
        problems = tidy(copy) + violations(copy)
        assert problems == [], f"killed before change {number}"
        copy.remove()
        if code != KILLED:
            break
    assert number > 20
