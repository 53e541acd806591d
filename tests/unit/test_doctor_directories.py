"""The two directories: there, apart, and the service's to use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from gobbler.doctor import modes
from gobbler.doctor.findings import Finding, Place

from .doctoring import FAULT, OK, TOPIC, WARNING, World, as_nobody, mounted, new_world


@pytest.fixture
def world() -> Iterator[World]:
    with new_world() as made:
        yield made


def test_good_directories_are_fit(world: World) -> None:
    for place in (world.staging, world.registry):
        assert modes.existence(TOPIC, place).verdict is OK
        assert modes.access(TOPIC, place).verdict is OK
    assert modes.apart(TOPIC, world.staging, world.registry).verdict is OK


@pytest.mark.parametrize(("what", "mode"), [("staging", "1733"), ("registry", "0755")])
def test_what_is_missing_can_be_made_by_the_remedy(tmp_path: Path, what: str, mode: str) -> None:
    place = Place(what, str(tmp_path / "with space"))
    found = modes.existence(TOPIC, place)
    assert (found.verdict, found.refused) == (FAULT, True)
    assert place.path in found.sentence
    assert found.remedy.endswith(f"mkdir -m {mode} '{place.path}'")
    assert os.system(found.remedy.partition(": ")[2]) == 0
    assert modes.existence(TOPIC, place).verdict is OK
    assert os.stat(place.path).st_mode & 0o7777 == int(mode, 8)


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in ("file", "file/deeper"):
        found = modes.existence(TOPIC, Place("registry", str(tmp_path / path)))
        assert (found.verdict, found.refused) == (FAULT, True)
        assert "not a directory" in found.sentence.lower()


def test_what_the_account_can_not_write_is_refused(world: World) -> None:
    found = as_nobody(modes.access, TOPIC, world.registry)
    assert (found.verdict, found.refused) == (FAULT, True)
    assert "account (nobody) can't write to" in found.sentence
    assert "chown" in found.remedy
    assert as_nobody(modes.access, TOPIC, world.staging).verdict is WARNING, "it can't list it"


def test_a_read_only_mount_is_reported_as_such(world: World) -> None:
    path = world.registry.path
    with mounted(path, "--bind", path):
        os.system(f"mount -o remount,bind,ro {path}")
        found = modes.access(TOPIC, world.registry)
    assert (found.verdict, found.refused) == (FAULT, True)
    assert "read-only" in found.sentence
    assert "remount,rw" in found.remedy
    assert modes.access(TOPIC, world.registry).verdict is OK


@pytest.mark.parametrize(
    ("staging", "registry"), [("a", "a"), ("a/b", "a"), ("a", "a/b"), ("link", "a/b"), ("a/", "a")]
)
def test_nested_directories_are_refused(tmp_path: Path, staging: str, registry: str) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "link").symlink_to("a")
    pair = (Place("staging", f"{tmp_path}/{staging}"), Place("registry", f"{tmp_path}/{registry}"))
    found = modes.apart(TOPIC, *pair)
    assert (found.verdict, found.refused) == (FAULT, True)
    assert "overlap" in found.sentence


def test_names_that_only_begin_alike_are_apart(tmp_path: Path) -> None:
    for name in ("data", "data2"):
        (tmp_path / name).mkdir()
    pair = (Place("staging", f"{tmp_path}/data"), Place("registry", f"{tmp_path}/data2"))
    assert modes.apart(TOPIC, *pair).verdict is OK


def test_one_directory_mounted_at_two_places_is_not_apart(world: World) -> None:
    inner = Path(world.registry.path, "inner")
    inner.mkdir()
    with mounted(world.staging.path, "--bind", world.registry.path):
        assert modes.apart(TOPIC, world.staging, world.registry).refused
        deeper = Place("staging", f"{world.staging.path}/inner")
        assert modes.apart(TOPIC, deeper, world.registry).refused


def own(world: World, name: str) -> Finding:
    for place in (world.staging, world.registry):
        for path, mode in place.own:
            if path.endswith(name):
                return modes.own_directory(TOPIC, path, mode)
    raise AssertionError(name)


OWN = [("staging", "..requests", 0o700), ("registry", "..incoming", 0o700)]


@pytest.mark.parametrize(("where", "name", "mode"), [*OWN, ("registry", "..logs", 0o755)])
def test_the_services_own_directories(world: World, where: str, name: str, mode: int) -> None:
    path = Path(getattr(world, where).path, name)
    assert own(world, name).verdict is OK, "the service makes what is not there"
    path.mkdir()
    for wrong, verdict, refused in (
        (mode, OK, False),
        (0o777, FAULT, True),
        (0o770, FAULT, False),
        (0o500, WARNING, False),
    ):
        path.chmod(wrong)
        found = own(world, name)
        assert (found.verdict, found.refused) == (verdict, refused), oct(wrong)
        if verdict is not OK:
            assert os.system(found.remedy) == 0
            assert own(world, name).verdict is OK


@pytest.mark.parametrize(("where", "name", "mode"), OWN)
def test_what_is_private_should_not_be_looked_into(
    world: World, where: str, name: str, mode: int
) -> None:
    path = Path(getattr(world, where).path, name)
    path.mkdir()
    path.chmod(0o755)
    found = own(world, name)
    assert (found.verdict, found.refused) == (WARNING, False)
    assert "readable by others" in found.sentence


@pytest.mark.parametrize("kind", ["file", "link", "of another account"])
def test_what_stands_in_place_of_an_own_directory_is_refused(world: World, kind: str) -> None:
    path = Path(world.staging.path, "..requests")
    if kind == "file":
        path.write_text("")
    elif kind == "link":
        path.symlink_to(world.top)
    else:
        path.mkdir(mode=0o700)
        if os.geteuid() != 0:
            pytest.skip("only root can give a directory away")
        os.chown(path, 54_321, -1)
    found = own(world, "..requests")
    assert (found.verdict, found.refused) == (FAULT, True)
    assert "not a directory of the service's own account" in found.sentence
