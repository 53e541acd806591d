"""Mounts as the kernel lists them, and what is known about them."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from gobbler.doctor import mounts
from gobbler.doctor.findings import Place, Verdict
from gobbler.doctor.mounts import KINDS
from gobbler.fs.mounts import Mount, mount_of, parse, read

from .doctoring import FAULT, OK, TOPIC, WARNING, World, mounted, new_world

STAGING, REGISTRY = Place("staging", "/data/staging"), Place("registry", "/data/registry")

LISTED = r"""
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
22 27 0:21 / /proc rw - proc proc rw
60 27 0:40 / /data rw,relatime shared:7 master:1 - nfs4 files:/export rw,vers=4.2,hard
61 60 0:41 / /data/with\040space\011and\303\274 rw - lustre mgs@tcp:/fs rw,flock
62 60 0:42 / /database rw - xfs /dev/vdb rw
63 60 0:43 / /data ro - nfs files:/hidden rw,nolock
an odd line
64 60 0:44 / /odd rw xfs
"""


@pytest.fixture
def world() -> Iterator[World]:
    with new_world() as made:
        yield made


def test_the_kernels_list_is_read() -> None:
    found = parse(LISTED)
    assert [m.point for m in found] == [
        "/",
        "/proc",
        "/data",
        "/data/with space\tandü",
        "/database",
        "/data",
    ]
    assert found[2] == Mount(
        "/data", "nfs4", "files:/export", frozenset({"rw", "relatime", "vers=4.2", "hard"})
    )


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("/", "/dev/vda"),
        ("/home/x", "/dev/vda"),
        ("/data", "files:/hidden"),
        ("/data/registry", "files:/hidden"),
        ("/database/x", "/dev/vdb"),
        ("/data/with space\tandü/x", "mgs@tcp:/fs"),
    ],
)
def test_the_mount_of_a_path_is_the_last_one_that_is_nearest(path: str, source: str) -> None:
    found = mount_of(parse(LISTED), path)
    assert found is not None
    assert found.source == source


def test_without_a_list_nothing_is_known() -> None:
    assert mount_of([], "/data") is None


def mount(kind: str, *options: str) -> Mount:
    return Mount("/data", kind, "source", frozenset(("rw", *options)))


@pytest.mark.parametrize(
    ("kind", "registry", "staging"),
    [
        ("ext4", OK, OK),
        ("nfs4", OK, OK),
        ("lustre", OK, OK),
        ("gpfs", OK, OK),
        ("tmpfs", WARNING, OK),
        ("overlay", WARNING, OK),
        ("fuse.sshfs", WARNING, WARNING),
        ("fuse.glusterfs", OK, OK),
        ("cifs", WARNING, FAULT),
        ("vfat", FAULT, FAULT),
        ("never-heard-of", OK, OK),
    ],
)
def test_what_is_known_about_a_kind_of_filesystem(
    kind: str, registry: Verdict, staging: Verdict
) -> None:
    for place, verdict in ((REGISTRY, registry), (STAGING, staging)):
        found = mounts.filesystem(TOPIC, place, mount(kind))
        assert found.verdict is verdict
        assert kind in found.sentence
        assert bool(found.remedy) == (verdict is not OK)


def test_whatever_is_not_fit_has_a_remedy() -> None:
    for name, kind in KINDS.items():
        if {kind.registry, kind.staging} != {OK}:
            assert kind.remedy, name


@pytest.mark.parametrize(
    ("kind", "option", "verdict", "said"),
    [
        ("lustre", "flock", OK, "no harmful options"),
        ("lustre", "localflock", WARNING, "this host only"),
        ("lustre", "noflock", FAULT, "flock fails"),
        ("nfs", "nolock", WARNING, "this host only"),
        ("nfs4", "local_lock=none", OK, "no harmful options"),
        ("nfs4", "local_lock=flock", WARNING, "this host only"),
        ("nfs4", "local_lock=all", WARNING, "this host only"),
        ("nfs4", "soft", WARNING, "slow"),
        ("nfs4", "hard", OK, "no harmful options"),
        ("cifs", "nobrl", WARNING, "this host only"),
        ("ext4", "nobarrier", WARNING, "power cut"),
        ("ext4", "noexec", OK, "no harmful options"),
        ("ext4", "nolock", OK, "no harmful options"),
        ("xfs", "ro", FAULT, "read-only"),
        ("xfs", "nosymfollow", FAULT, "can't read linked files"),
    ],
)
def test_what_options_mean_for_the_registry(
    kind: str, option: str, verdict: Verdict, said: str
) -> None:
    (found,) = mounts.options(TOPIC, REGISTRY, mount(kind, option))
    assert found.verdict is verdict
    assert said in found.sentence


@pytest.mark.parametrize("option", ["nolock", "nosymfollow"])
def test_staging_needs_neither_locks_nor_links(option: str) -> None:
    (found,) = mounts.options(TOPIC, STAGING, mount("nfs", option))
    assert found.verdict is OK


def test_several_options_are_all_reported() -> None:
    found = list(mounts.options(TOPIC, REGISTRY, mount("nfs", "ro", "nolock", "soft")))
    assert [f.verdict for f in found] == [FAULT, WARNING, WARNING]


def test_a_read_only_mount_is_seen_in_the_real_list(world: World) -> None:
    path = world.registry.path
    with mounted(path, "--bind", path):
        os.system(f"mount -o remount,bind,ro {path}")
        mine = mount_of(read(), os.path.realpath(path))
        assert mine is not None
        (found,) = mounts.options(TOPIC, world.registry, mine)
    assert found.verdict is FAULT
    assert path in found.sentence


def test_a_mount_inside_of_the_registry_is_a_fault(world: World) -> None:
    inner = f"{world.registry.path}/project"
    os.mkdir(inner)
    assert mounts.inside(TOPIC, world.registry, read()).verdict is OK
    with mounted(inner, "--bind", inner):  # of the same filesystem, so devices say nothing
        found = mounts.inside(TOPIC, world.registry, read())
    assert found.verdict is FAULT
    assert inner in found.sentence


def test_the_registry_itself_may_be_a_mount(world: World) -> None:
    with mounted(world.registry.path, "--bind", world.registry.path):
        assert mounts.inside(TOPIC, world.registry, read()).verdict is OK
