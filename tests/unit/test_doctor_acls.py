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

from gobbler.doctor import acls, modes
from gobbler.fs import acl
from gobbler.fs.acl import GROUP, GROUP_OBJ, MASK, OTHER, USER, USER_OBJ, AclEntry
from gobbler.fs.authorship import other_writers

from .doctoring import FAULT, OK, TOPIC, WARNING, World, as_nobody, new_world


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
    for probe in (acls.access_acl, acls.default_acl):
        assert probe(TOPIC, world.registry, lambda *_: data).verdict is WARNING


@pytest.mark.parametrize("number", [errno.ENODATA, errno.EOPNOTSUPP])
def test_no_list_is_fine(world: World, number: int) -> None:
    def get(path: str, attribute: str) -> bytes:
        raise OSError(number, os.strerror(number))

    for probe in (acls.access_acl, acls.default_acl):
        assert probe(TOPIC, world.registry, get).verdict is OK


def test_another_failure_is_reported(world: World) -> None:
    def get(path: str, attribute: str) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    found = TOPIC.attempt(acls.access_acl, world.registry, get)
    assert found.verdict is FAULT
    assert "Input/output error" in found.sentence


def test_who_is_named_can_be_without_account_or_group() -> None:
    found = acl.parse(packed((USER, 7, 54_321), (GROUP, 5, 54_321), (GROUP, 4, 0)))
    assert acl.describe(found) == "user ID 54321 rwx, group ID 54321 r-x, group root r--"


def test_somebody_who_may_write_to_the_registry_is_named(world: World) -> None:
    setfacl("-m", "u:nobody:rwx,g:54321:rwx", world.registry.path)
    found = acls.access_acl(TOPIC, world.registry)
    assert found.verdict is WARNING
    assert "user nobody" in found.sentence
    assert "group ID 54321" in found.sentence
    assert os.system(found.remedy[found.remedy.index("setfacl") :]) == 0
    assert acls.access_acl(TOPIC, world.registry).verdict is OK


def test_the_mask_takes_the_right_to_write_away(world: World) -> None:
    setfacl("-m", "u:nobody:rwx,m::rx", world.registry.path)
    found = acls.access_acl(TOPIC, world.registry)
    assert found.verdict is OK
    assert found.sentence == "grants user nobody r-x"


def test_what_staging_grants_is_reported(world: World) -> None:
    setfacl("-m", "d:u:nobody:rX,u:nobody:rX,d:g::rX,d:o::rX", world.staging.path)
    for probe in (acls.access_acl, acls.default_acl):
        found = probe(TOPIC, world.staging)
        assert found.verdict is OK
        assert "user nobody r-x" in found.sentence


def test_a_default_acl_that_hides_what_is_published_is_a_fault(world: World) -> None:
    setfacl("-d", "-m", "o::---", world.registry.path)
    found = acls.default_acl(TOPIC, world.registry)
    assert found.verdict is FAULT
    made = Path(world.registry.path, "made")
    made.mkdir()
    assert modes.modes_made(TOPIC, str(made)).verdict is FAULT, "and it is so"
    assert os.system(found.remedy.partition(", or")[0]) == 0
    assert acls.default_acl(TOPIC, world.registry).verdict is OK
    made = Path(world.registry.path, "another")
    made.mkdir()
    assert modes.modes_made(TOPIC, str(made)).verdict is OK


@pytest.mark.parametrize(
    ("entries", "whom"),
    [
        ("u:0:rwX", "everybody"),  # the other entries come from the mode of staging
        ("g::rwX,o::rX", "the group of its owner"),
        ("u:nobody:rwX,g::rX,o::rX", "user nobody"),
        ("g:54321:rwX,g::rX,o::---", "group ID 54321"),
    ],
)
def test_a_default_acl_that_lets_others_write_is_a_fault(
    world: World, entries: str, whom: str
) -> None:
    os.chmod(world.staging.path, 0o1777)
    setfacl("-d", "-m", entries, world.staging.path)
    assert others_of_new_file(world) != [], "and it is so"
    found = acls.default_acl(TOPIC, world.staging)
    assert found.verdict is FAULT
    assert whom in found.sentence
    assert os.system(found.remedy.partition(", or")[0]) == 0
    assert acls.default_acl(TOPIC, world.staging).verdict is OK
    assert others_of_new_file(world) == []


def others_of_new_file(world: World) -> list[str]:
    """Who else can write what a client makes with the mode 0666, as those in other languages do."""
    path = Path(world.staging.path, "request-x-1")
    before = os.umask(0o022)
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o666))
        if os.geteuid() == 0:
            os.chown(path, -1, 54_321)  # as where users have no private groups
    finally:
        os.umask(before)
    try:
        return list(other_writers(path.stat(), acl.read(str(path), acl.ACCESS_ACL)))
    finally:
        path.unlink()


def test_the_mask_of_a_default_acl_counts(world: World) -> None:
    setfacl("-d", "-m", "u:nobody:rwX,g::rwX,o::rX,m::rX", world.staging.path)
    assert acls.default_acl(TOPIC, world.staging).verdict is OK
    assert others_of_new_file(world) == []


def test_a_default_acl_that_keeps_the_service_out_is_a_fault(world: World) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to act for another account")
    setfacl("-d", "-m", "g::---,o::---", world.staging.path)
    found = as_nobody(acls.default_acl, TOPIC, world.staging)
    assert found.verdict is FAULT
    assert "keeps the service's account (nobody) from reading" in found.sentence
    assert os.system(found.remedy.partition(", or")[0]) == 0
    assert as_nobody(acls.default_acl, TOPIC, world.staging).verdict is OK


def test_a_filesystem_that_keeps_modes(world: World) -> None:
    found = acls.kept_modes(TOPIC, world.staging.path)
    assert (found.verdict, found.sentence) == (OK, "files keep their mode, 0644")


def test_a_filesystem_that_gives_every_file_to_everybody(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acls.acl, "remove", lambda made, _: os.fchmod(made, 0o666))
    found = acls.kept_modes(TOPIC, world.staging.path)
    assert found.verdict is FAULT
    assert "0666" in found.sentence
    assert "everybody" in found.sentence
