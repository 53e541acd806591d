"""Changes that others make between the last look and the locks; and kills after that."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from gobbler.errors import Missing, Refused
from gobbler.fs import flush
from gobbler.index import Index
from gobbler.rules.dedup import Dedup

from .changes import P
from .checks import complete, report, tidy
from .effects import KILLED, Behaviour, Effect, Kill, Recording, intercepted, is_called_by
from .moments import in_a_child
from .operations import BUILDING, Operation, of_version, plant, upload
from .world import ADMIN, OWNER, Observer, World, violations

RIVALS = [op for op in BUILDING if op.action == "upload" and op.uid is None and op.user == OWNER]


class Rival(Observer):
    """Publishes the same version when the upload that it watches is about to."""

    def __init__(self, operation: Operation, world: World) -> None:
        self._operation, self._world = operation, world
        self.started = self.done = False

    def check(self) -> None:
        ready = (self._world.registry / "..incoming").glob("*/tree/..summary")
        if not self.started and any(ready):
            self.started = True
            plant(self._world.staging / "rival", {"by": b"the rival"})
            request = {**self._operation.request, "source": "rival", "consume": False}
            self._world.act("upload", request, OWNER)
            self.done = True


class Armed:
    """Applies ``behaviour`` to what happens after the rival is done."""

    def __init__(self, rival: Rival, behaviour: Behaviour) -> None:
        self._rival, self._behaviour = rival, behaviour
        self._count = 0

    def __call__(self, effect: Effect) -> None:
        if self._rival.done and effect.changes:
            self._count += 1
            self._behaviour(replace(effect, change=self._count))


def ignore(effect: Effect) -> None:
    """Let it be."""


def run(operation: Operation, world: World, behaviour: Behaviour) -> None:
    rival = Rival(operation, world)
    with intercepted(world.base, Armed(rival, behaviour)):
        operation.run(world, rival)


@pytest.mark.parametrize("operation", RIVALS, ids=str, indirect=True)
def test_a_kill_after_a_late_refusal_leaves_the_rivals_version_alone(
    operation: Operation, template: World, worlds: Path
) -> None:
    recording = Recording([])
    with pytest.raises(Refused, match="already exists"):
        run(operation, template.copy_to(worlds / "rehearsal"), recording)
    wrong: list[str] = []
    for effect in recording.effects:
        world = template.copy_to(worlds / str(effect.number))
        behaviour = Kill(effect.change)
        code = in_a_child(world, ignore, lambda: run(operation, world, behaviour))  # noqa: B023
        assert code == KILLED
        found = tidy(world) + violations(world)
        if world.content(operation.makes) != {"by": b"the rival"}:
            found.append("the rival's version is another now")
        wrong += [f"{operation.name}, refused, killed before {effect}: {p}" for p in found]
        world.remove()
    report(wrong)


@dataclass
class AtTheLastFlush:
    """Has ``act`` done when all has been written, but neither flushed nor published."""

    act: Callable[[], object]
    behaviour: Behaviour = ignore
    done: bool = False
    count: int = 0

    def __call__(self, effect: Effect) -> None:
        if not self.done and effect.function == "scandir" and is_called_by(flush):
            self.done = True
            self.act()
            self.count = 0
        elif self.done and effect.changes:
            self.count += 1
            self.behaviour(replace(effect, change=self.count))


def upload_to(asset: str) -> Operation:
    return upload("upload", f"p/{asset}/2", {"f": b"mine"}, {"f": b"mine"})


MEANWHILE = {
    "its asset is deleted": ("a", lambda w: w.act("delete_asset", {**P, "asset": "a"}, ADMIN)),
    "its asset is made": (
        "new",
        lambda w: w.act("set_permissions", {**P, "asset": "new", "permissions": {}}, OWNER),
    ),
    "permissions change": (
        "a",
        lambda w: w.act("set_permissions", {**P, "permissions": {}}, OWNER),
    ),
}


@pytest.mark.parametrize("what", MEANWHILE)
def test_an_upload_is_published_all_the_same_when(worlds: Path, what: str) -> None:
    asset, act = MEANWHILE[what]
    operation, world = upload_to(asset), World(worlds / "template")
    operation.prepare(world)
    with intercepted(world.base, AtTheLastFlush(lambda: act(world))):
        operation.run(world)
    assert violations(world) + complete(operation, world) + tidy(world) == []


@pytest.mark.parametrize("what", MEANWHILE)
def test_a_kill_after_that_is_put_right(worlds: Path, what: str) -> None:
    asset, act = MEANWHILE[what]
    operation, template = upload_to(asset), World(worlds / "template")
    operation.prepare(template)
    wrong: list[str] = []
    for n in itertools.count(1):
        world = template.copy_to(worlds / str(n))
        behaviour = AtTheLastFlush(lambda: act(world), Kill(n))  # noqa: B023
        code = in_a_child(world, behaviour, lambda: operation.run(world))  # noqa: B023
        if code != KILLED:
            break
        found = tidy(world) + violations(world)
        wrong += [f"{what}, killed before change {n} after that: {problem}" for problem in found]
        world.remove()
    assert n > 1
    report(wrong)


def linked_by(world: World, version: str) -> set[str]:
    """The versions that links of ``version`` name."""
    manifest = json.loads((world.registry / version / "..manifest").read_bytes())
    links = [entry["link"] for entry in manifest.values() if "link" in entry]
    return {f"{link['project']}/{link['asset']}/{link['version']}" for link in links}


def reroute_and_delete(world: World) -> None:
    """Have version 1 store what it had in common with version 0, which goes."""
    world.act("reroute_links", {"to_delete": [of_version("0")]}, ADMIN)
    world.act("delete_version", of_version("0"), ADMIN)


GOES: dict[str, tuple[bytes, Callable[[World], object], set[str]]] = {
    "the version is deleted": (
        b"1",
        lambda w: w.act("delete_version", of_version("1"), ADMIN),
        set(),
    ),
    "its asset is deleted": (
        b"1",
        lambda w: w.act("delete_asset", {**P, "asset": "a"}, ADMIN),
        set(),
    ),
    "another has the content then": (b"always the same", reroute_and_delete, {"p/a/1"}),
}


@pytest.mark.parametrize("what", GOES)
@pytest.mark.parametrize("consume", [False, True])
def test_a_dedup_candidate_may_be_removed(worlds: Path, what: str, consume: bool) -> None:
    """The upload starts over, and links to the files that exist then, if there are any."""
    same, act, linked = GOES[what]
    content = {"g": same, "new": b"new"}
    operation = upload("upload", "p/b/1", dict(content), content, consume=consume)
    world = World(worlds / "template")
    operation.prepare(world)
    index = Index(str(worlds / "index.db"), world.service.registry)
    world.service = replace(world.service, index=index, dedup=Dedup.PROJECT)
    plain = world.copy_to(worlds / "plain")
    plain.service = replace(
        plain.service,
        index=Index(str(worlds / "plain.db"), plain.service.registry),
        dedup=Dedup.PROJECT,
    )
    operation.run(plain)
    assert linked_by(plain, "p/b/1") - linked  # so that a dedup candidate is removed meanwhile
    meanwhile = AtTheLastFlush(lambda: act(world))
    with intercepted(world.base, meanwhile):
        operation.run(world)
    assert meanwhile.done
    assert violations(world) + complete(operation, world) + tidy(world) == []
    assert linked_by(world, "p/b/1") == linked


def change_links(world: World) -> None:
    """Have version 2 store what it had in common with version 1."""
    world.act("reroute_links", {"to_delete": [of_version("1")]}, ADMIN)


REINDEX = {
    "its links are rerouted": (change_links, b"1", set[str]()),
    "it is gone": (lambda w: w.act("delete_version", of_version("2"), ADMIN), None, set[str]()),
}


@pytest.mark.parametrize("what", REINDEX)
def test_a_version_that_is_reindexed_may_change(worlds: Path, what: str) -> None:
    """The new records are those of the files that are there then."""
    act, content, linked = REINDEX[what]
    world = World(worlds / "template")
    world.make()
    world.act("create_project", {"project": "p"}, ADMIN)
    for version in "12":
        plant(world.staging / version, {"same": b"1"})
        request = {**of_version(version), "source": version}
        world.act("upload", request, ADMIN)
    assert linked_by(world, "p/a/2") == {"p/a/1"}
    meanwhile = AtTheLastFlush(lambda: act(world))
    with intercepted(world.base, meanwhile):
        if content is None:
            with pytest.raises(Missing):
                world.act("reindex_version", of_version("2"), ADMIN)
        else:
            world.act("reindex_version", of_version("2"), ADMIN)
    assert meanwhile.done
    if content is not None:
        assert linked_by(world, "p/a/2") == linked
        assert world.content("p/a/2") == {"same": content}
    assert violations(world) + tidy(world) == []
