"""Owners and modes of both directories, and of those above them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest

from gobbler.doctor import modes
from gobbler.doctor.findings import Verdict

from .doctoring import FAULT, OK, TOPIC, WARNING, World, as_nobody, new_world

OTHERS_GROUP = 54_321


@pytest.fixture
def world() -> Iterator[World]:
    with new_world() as made:
        yield made


def to_another_group(path: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to give a directory to another group")
    os.chown(path, -1, OTHERS_GROUP)


@pytest.mark.parametrize(
    ("mode", "verdict"),
    [(0o755, OK), (0o777, FAULT), (0o757, FAULT), (0o1777, FAULT), (0o775, WARNING)],
)
def test_only_the_service_should_write_to_the_registry(
    world: World, mode: int, verdict: Verdict
) -> None:
    to_another_group(world.registry.path)
    os.chmod(world.registry.path, mode)
    found = modes.registry_writers(TOPIC, world.registry)
    assert (found.verdict, found.refused) == (verdict, verdict is FAULT)
    while found.verdict is not OK:
        before = found
        assert os.system(found.remedy[found.remedy.index("chmod") :]) == 0
        found = modes.registry_writers(TOPIC, world.registry)
        assert found != before


def test_a_group_of_its_own_may_write_to_the_registry(world: World) -> None:
    os.chmod(world.registry.path, 0o775)  # what is made belongs to the account's own group
    assert modes._is_own_group(OTHERS_GROUP) is False
    if modes._is_own_group(os.stat(world.registry.path).st_gid):
        assert modes.registry_writers(TOPIC, world.registry).verdict is OK


@pytest.mark.parametrize(
    ("mode", "verdict"), [(0o755, OK), (0o750, WARNING), (0o700, WARNING), (0o751, WARNING)]
)
def test_everybody_should_read_the_registry(world: World, mode: int, verdict: Verdict) -> None:
    os.chmod(world.registry.path, mode)
    found = modes.registry_readers(TOPIC, world.registry)
    assert found.verdict is verdict
    assert ("over HTTP" in found.sentence) == (verdict is WARNING)


def test_the_registry_of_another_account_is_reported_with_both_ways_out(world: World) -> None:
    assert modes.registry_owner(TOPIC, world.registry).verdict is OK
    if os.geteuid() != 0:
        pytest.skip("needs root to give a directory away")
    assert as_nobody(modes.registry_owner, TOPIC, world.registry).verdict is OK, "root's"
    os.chown(world.registry.path, 54_321, -1)
    found = modes.registry_owner(TOPIC, world.registry)
    assert found.verdict is FAULT
    assert "belongs to user ID 54321, not to root" in found.sentence
    assert f"chown -R root {world.registry.path}" in found.remedy


@pytest.mark.parametrize(
    ("mode", "writers", "sticky"),
    [
        (0o1777, OK, OK),
        (0o1733, OK, OK),
        (0o777, OK, FAULT),
        (0o1770, WARNING, OK),
        (0o770, WARNING, FAULT),
        (0o755, FAULT, OK),
        (0o1755, FAULT, OK),
    ],
)
def test_everybody_writes_to_staging_and_removes_only_what_is_theirs(
    world: World, mode: int, writers: Verdict, sticky: Verdict
) -> None:
    to_another_group(world.staging.path)
    for probe, verdict in ((modes.staging_writers, writers), (modes.staging_sticky, sticky)):
        os.chmod(world.staging.path, mode)
        found = probe(TOPIC, world.staging)
        assert (found.verdict, found.refused) == (verdict, False)
        if verdict is not OK:
            assert os.system(found.remedy[found.remedy.index("chmod") :]) == 0
            assert probe(TOPIC, world.staging).verdict is OK


@pytest.mark.parametrize(
    ("mode", "verdict"),
    [(0o1777, WARNING), (0o1737, WARNING), (0o1773, WARNING), (0o1733, OK), (0o1770, WARNING)],
)
def test_the_names_of_requests_are_secrets(world: World, mode: int, verdict: Verdict) -> None:
    to_another_group(world.staging.path)
    os.chmod(world.staging.path, mode)
    found = modes.staging_listing(TOPIC, world.staging)
    assert (found.verdict, found.refused) == (verdict, False)
    if verdict is WARNING:
        assert ("everybody" in found.sentence) == bool(mode & 0o4)
        assert os.system(found.remedy.partition(". ")[0]) == 0
        assert modes.staging_listing(TOPIC, world.staging).verdict is OK
        for client in ("pygobbler", "gobbler for R", "Go service"):
            assert client in found.remedy


def test_an_acl_for_the_service_survives_that_others_can_not_list(world: World) -> None:
    if shutil.which("setfacl") is None or os.geteuid() != 0:
        pytest.skip("needs setfacl, and root to act for another account")
    os.chmod(world.staging.path, 0o1777)
    os.system(f"setfacl -m u:nobody:rwx {world.staging.path}")
    found = modes.staging_listing(TOPIC, world.staging)
    assert os.system(found.remedy.partition(". ")[0]) == 0
    assert modes.staging_listing(TOPIC, world.staging).verdict is OK
    assert as_nobody(modes.access, TOPIC, world.staging).verdict is OK


def test_a_service_that_can_not_list_staging_works_but_removes_nothing(world: World) -> None:
    found = as_nobody(modes.access, TOPIC, world.staging)
    assert (found.verdict, found.refused) == (WARNING, False)
    for remedy in reversed(found.remedy.split(", or ")):
        assert os.system(remedy) == 0
        assert as_nobody(modes.access, TOPIC, world.staging).verdict is OK
        os.system(f"setfacl -b {world.staging.path}")


def test_the_owner_of_staging_can_remove_anything(world: World) -> None:
    assert modes.staging_owner(TOPIC, world.staging).verdict is OK
    if os.geteuid() != 0:
        pytest.skip("needs root to give a directory away")
    os.chown(world.staging.path, 54_321, -1)
    found = modes.staging_owner(TOPIC, world.staging)
    assert found.verdict is WARNING
    assert "user ID 54321" in found.sentence


def test_a_directory_above_that_others_can_not_enter_is_named(world: World) -> None:
    for place, verdict in ((world.staging, FAULT), (world.registry, WARNING)):
        assert modes.reach(TOPIC, place).verdict is OK
        world.top.chmod(0o750)
        found = modes.reach(TOPIC, place)
        assert found.verdict is verdict
        assert str(world.top) in found.sentence
        assert os.system(found.remedy[found.remedy.index("chmod") :]) == 0
        assert modes.reach(TOPIC, place).verdict is OK
        world.top.chmod(0o755)


def test_a_directory_above_that_everybody_can_write_is_a_fault(world: World) -> None:
    assert modes.replaceable(TOPIC, world.registry).verdict is OK
    world.top.chmod(0o777)
    found = modes.replaceable(TOPIC, world.registry)
    assert found.verdict is FAULT
    assert f"everybody can write to {world.top}" in found.sentence
    world.top.chmod(0o1777)
    assert modes.replaceable(TOPIC, world.registry).verdict is OK, "as in /tmp"


def test_a_directory_above_of_another_account_or_group_is_a_warning(world: World) -> None:
    to_another_group(str(world.top))
    world.top.chmod(0o775)
    found = modes.replaceable(TOPIC, world.registry)
    assert found.verdict is WARNING
    assert "group ID 54321" in found.sentence
    world.top.chmod(0o755)
    os.chown(world.top, 54_321, 0)
    found = modes.replaceable(TOPIC, world.registry)
    assert found.verdict is WARNING
    assert "user ID 54321" in found.sentence
