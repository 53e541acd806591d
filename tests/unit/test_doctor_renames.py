"""Renames and links, where they work and where they don't."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from gobbler.doctor import renames
from gobbler.doctor.contenders import Contender

from .doctoring import FAULT, OK, TOPIC, WARNING, World, mounted, new_world, small


@pytest.fixture
def world() -> Iterator[World]:
    with new_world() as made:
        (made.top / "registry/..incoming").mkdir(mode=0o700)
        yield made


@pytest.mark.parametrize(
    "probe",
    [
        renames.over_directories,
        renames.replacing,
        renames.hard_links,
        renames.symbolic_links,
    ],
)
def test_a_local_filesystem_is_fit(tmp_path: Path, probe) -> None:
    assert probe(TOPIC, str(tmp_path)).verdict is OK


def test_a_directory_is_renamed_to_its_place_and_back(world: World) -> None:
    incoming, target = f"{world.registry.path}/..incoming", f"{world.registry.path}/target"
    assert renames.publication(TOPIC, incoming, target).verdict is OK
    assert not os.path.exists(target)


@pytest.mark.parametrize("kind", ["another filesystem", "the same one, mounted there"])
def test_incoming_on_another_mount_is_refused(world: World, kind: str) -> None:
    incoming, target = f"{world.registry.path}/..incoming", f"{world.registry.path}/target"
    mount = (
        small(incoming) if kind == "another filesystem" else mounted(incoming, "--bind", incoming)
    )
    with mount:
        found = renames.publication(TOPIC, incoming, target)
        seen = renames.one_filesystem(TOPIC, world.registry)
    assert (found.verdict, found.refused) == (FAULT, True)
    assert "can't be renamed out of ..incoming" in found.sentence
    assert seen.refused is (kind == "another filesystem")
    assert not os.path.exists(target)


def test_a_project_on_another_filesystem_is_a_fault(world: World) -> None:
    for number in range(7):
        Path(world.registry.path, f"project-{number}").mkdir()
    with small(f"{world.registry.path}/project-3"):
        found = renames.one_filesystem(TOPIC, world.registry)
    assert (found.verdict, found.refused) == (FAULT, False)
    assert "project-3" in found.sentence
    assert "project-4" not in found.sentence
    assert renames.one_filesystem(TOPIC, world.registry).verdict is OK


def test_symbolic_links_in_place_of_projects_are_reported_up_to_some(world: World) -> None:
    for number in range(7):
        Path(world.registry.path, f"project-{number}").symlink_to(world.top)
    found = renames.one_filesystem(TOPIC, world.registry)
    assert found.verdict is WARNING
    assert "project-4 and 2 more" in found.sentence


def test_whether_files_must_be_copied_is_reported(world: World) -> None:
    one = renames.how_many(TOPIC, world.staging, world.registry)
    with small(world.registry.path):
        two = renames.how_many(TOPIC, world.staging, world.registry)
    assert one.verdict is two.verdict is OK
    assert "moved, not copied" in one.sentence
    assert "all files are copied" in two.sentence


def refusing(monkeypatch: pytest.MonkeyPatch, name: str, number: int) -> None:
    """Let every call of ``os.{name}`` fail."""

    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, name, refuse)


def test_renames_that_are_not_possible_are_refused(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing(monkeypatch, "rename", errno.EPERM)
    found = renames.publication(TOPIC, str(world.top), f"{world.top}/target")
    assert (found.verdict, found.refused) == (FAULT, True)
    assert "Operation not permitted" in found.sentence


def test_a_rename_that_copies_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "rename", lambda old, new: os.mkdir(new))
    found = renames.publication(TOPIC, str(world.top), f"{world.top}/target")
    assert (found.verdict, found.refused) == (FAULT, True)


def test_a_rename_over_a_full_directory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "rename", lambda old, new: None)
    found = renames.over_directories(TOPIC, str(tmp_path))
    assert (found.verdict, found.refused) == (FAULT, True)
    assert "a published version could be replaced" in found.sentence


def test_no_rename_over_an_empty_directory_is_only_odd(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing(monkeypatch, "rename", errno.EEXIST)
    assert renames.over_directories(TOPIC, str(tmp_path)).verdict is WARNING


def test_a_reader_that_finds_nothing_for_a_moment_is_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = os.rename

    def remove_first(old: str, new: str) -> None:
        os.unlink(new)
        rename(old, new)

    monkeypatch.setattr(os, "rename", remove_first)
    monkeypatch.setattr(renames, "REPLACEMENTS", 5000)
    found = renames.replacing(TOPIC, str(tmp_path))
    assert found.verdict is FAULT
    assert "not atomic" in found.sentence


def test_a_reader_that_finds_half_a_file_is_a_fault(tmp_path: Path) -> None:
    class Damaged(Contender):
        def receive(self) -> str:
            looks, missing, _ = super().receive().split()
            return f"{looks} {missing} 1"

    assert renames.replacing(TOPIC, str(tmp_path), Damaged).verdict is FAULT


def test_a_filesystem_without_links_is_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing(monkeypatch, "link", errno.EOPNOTSUPP)
    refusing(monkeypatch, "symlink", errno.EPERM)
    for probe, said in (
        (renames.hard_links, "no hard links (Operation not supported)"),
        (renames.symbolic_links, "no symbolic links (Operation not permitted)"),
    ):
        found = probe(TOPIC, str(tmp_path))
        assert found.verdict is FAULT
        assert said in found.sentence


def test_links_that_become_something_else_are_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "readlink", lambda path: "/mnt/elsewhere")
    monkeypatch.setattr(os, "link", lambda old, new, **_: Path(new).write_text(""))
    for probe in (renames.hard_links, renames.symbolic_links):
        assert probe(TOPIC, str(tmp_path)).verdict is FAULT


def test_a_mount_that_follows_no_links_is_a_fault(world: World) -> None:
    with mounted(world.registry.path, "-t", "tmpfs", "-o", "nosymfollow", "none"):
        found = renames.symbolic_links(TOPIC, world.registry.path)
    assert found.verdict is FAULT
    assert "nosymfollow" in found.remedy
