"""POSIX ACLs: as bytes, and as ``setfacl`` sets them on a real filesystem."""

from __future__ import annotations

import errno
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gobbler.doctor import modes
from gobbler.fs import acl
from gobbler.fs.acl import GROUP, GROUP_OBJ, MASK, OTHER, USER, USER_OBJ, AclEntry

from .doctoring import FAULT, OK, TOPIC, WARNING, World, new_world


@pytest.fixture
def world() -> Iterator[World]:
    with new_world() as made:
        yield made


def setfacl(*arguments: str) -> None:
    if shutil.which("setfacl") is None:
        pytest.skip("there is no setfacl: install the package acl")
    done = subprocess.run(["setfacl", *arguments], capture_output=True, text=True)
    if "not supported" in done.stderr:
        pytest.skip("the filesystem of the tests keeps no ACLs")
    assert done.returncode == 0, done.stderr


def packed(*entries: tuple[int, int, int]) -> bytes:
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)


def test_a_list_is_read_from_its_bytes() -> None:
    found = acl.parse(packed((USER_OBJ, 7, -1), (USER, 6, 1000), (MASK, 4, -1), (OTHER, 5, -1)))
    assert found.entries[1] == AclEntry(USER, 6, 1000)
    assert found.find(OTHER) == 5
    assert found.find(GROUP_OBJ) == 0
    assert list(found.named()) == [AclEntry(USER, 4, 1000)], "the mask limits what is granted"


@pytest.mark.parametrize("data", [b"", b"\2\0\0", b"\3\0\0\0", packed((OTHER, 5, -1)) + b"\0"])
def test_other_bytes_are_no_list(world: World, data: bytes) -> None:
    with pytest.raises(ValueError, match="not a POSIX ACL"):
        acl.parse(data)
    for probe in (modes.access_acl, modes.default_acl):
        assert probe(TOPIC, world.registry, lambda *_: data).verdict is WARNING


@pytest.mark.parametrize("number", [errno.ENODATA, errno.EOPNOTSUPP])
def test_no_list_is_fine(world: World, number: int) -> None:
    def get(path: str, attribute: str) -> bytes:
        raise OSError(number, os.strerror(number))

    for probe in (modes.access_acl, modes.default_acl):
        assert probe(TOPIC, world.registry, get).verdict is OK


def test_another_failure_is_reported(world: World) -> None:
    def get(path: str, attribute: str) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    found = TOPIC.attempt(modes.access_acl, world.registry, get)
    assert found.verdict is FAULT
    assert "Input/output error" in found.sentence


def test_who_is_named_can_be_without_account_or_group() -> None:
    found = acl.parse(packed((USER, 7, 54_321), (GROUP, 5, 54_321), (GROUP, 4, 0)))
    assert acl.describe(found) == "user user ID 54321 rwx, group ID 54321 r-x, group root r--"


def test_somebody_who_may_write_to_the_registry_is_named(world: World) -> None:
    setfacl("-m", "u:nobody:rwx,g:54321:rwx", world.registry.path)
    found = modes.access_acl(TOPIC, world.registry)
    assert found.verdict is WARNING
    assert "user nobody" in found.sentence
    assert "group ID 54321" in found.sentence
    assert os.system(found.remedy[found.remedy.index("setfacl") :]) == 0
    assert modes.access_acl(TOPIC, world.registry).verdict is OK


def test_the_mask_takes_the_right_to_write_away(world: World) -> None:
    setfacl("-m", "u:nobody:rwx,m::rx", world.registry.path)
    found = modes.access_acl(TOPIC, world.registry)
    assert found.verdict is OK
    assert found.sentence == "grants user nobody r-x"


def test_what_staging_grants_is_reported(world: World) -> None:
    setfacl("-m", "d:u:nobody:rX,u:nobody:rX", world.staging.path)
    for probe in (modes.access_acl, modes.default_acl):
        found = probe(TOPIC, world.staging)
        assert found.verdict is OK
        assert "user nobody r-x" in found.sentence


def test_a_default_acl_that_hides_what_is_published_is_a_fault(world: World) -> None:
    setfacl("-d", "-m", "o::---", world.registry.path)
    found = modes.default_acl(TOPIC, world.registry)
    assert found.verdict is FAULT
    made = Path(world.registry.path, "made")
    made.mkdir()
    assert modes.modes_made(TOPIC, str(made)).verdict is FAULT, "and it is so"
    assert os.system(found.remedy.partition(", or")[0]) == 0
    assert modes.default_acl(TOPIC, world.registry).verdict is OK
    made = Path(world.registry.path, "another")
    made.mkdir()
    assert modes.modes_made(TOPIC, str(made)).verdict is OK
