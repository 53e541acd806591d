"""All probes in their order, and the quick ones that the service runs at its start."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from gobbler.doctor import acl_probes, host, modes, mounts, places, renames, storage
from gobbler.doctor import probes as behaviour
from gobbler.doctor.findings import Finding, Topic, Verdict
from gobbler.doctor.places import Place
from gobbler.doctor.probes import REAL, Seams
from gobbler.fs.mounts import mount_of
from gobbler.fs.mounts import read as read_mounts

Probes = tuple[tuple[str, Callable[[Topic, Place], Finding]], ...]

_BOTH: Probes = (
    ("way to it", modes.reach),
    ("directories above", modes.replaceable),
    ("ACL", acl_probes.access_acl),
    ("default ACL", acl_probes.default_acl),
)

PERMISSIONS: dict[str, Probes] = {
    "staging": (
        ("access", places.access),
        ("owner", modes.staging_owner),
        ("writers", modes.staging_writers),
        ("sticky bit", modes.staging_sticky),
        *_BOTH,
    ),
    "registry": (
        ("access", places.access),
        ("owner", modes.registry_owner),
        ("writers", modes.registry_writers),
        ("readers", modes.registry_readers),
        *_BOTH,
    ),
}

INSIDE: Probes = (("one filesystem", renames.one_filesystem),)

ROOM: Probes = (("space", storage.space), ("inodes", storage.inodes))


def permissions(staging: Place, registry: Place) -> Iterator[Finding]:
    """Who can do what in both directories; of what is missing no more is said."""
    both = (staging, registry)
    found = [place.topic("exists").attempt(places.existence, place) for place in both]
    yield from found
    if not any(finding.refused for finding in found):
        yield Topic("both", "apart").attempt(places.apart, staging, registry)
    for place, exists in zip(both, found, strict=True):
        if not exists.refused:
            yield from _each(place, PERMISSIONS[place.what])
            yield from own_directories(place)


def own_directories(place: Place) -> Iterator[Finding]:
    """Whose the service's own directories are."""
    for path, mode in place.own:
        yield place.topic(os.path.basename(path)).attempt(places.own_directory, path, mode)


def quick(registry: Place, seams: Seams = REAL) -> Iterator[Finding]:
    """How the registry behaves, as far as a service must know before it starts."""
    yield from _each(registry, INSIDE)
    room = list(_each(registry, ROOM))
    yield from room
    if not _is_full(room):
        yield from registry.topic("probing").attempt_all(behaviour.essentials, registry, seams)


def examine(staging: str, registry: str, seams: Seams = REAL) -> list[Finding]:
    """All that is to be said about the two directories. Leaves nothing behind."""
    with host.umask_of_the_service() as umask:
        return list(_examine(Place("staging", staging), Place("registry", registry), umask, seams))


def _examine(staging: Place, registry: Place, umask: int, seams: Seams) -> Iterator[Finding]:
    yield Topic("host", "account").attempt(host.account, registry.path)
    yield Topic("host", "installation").attempt(host.installation)
    yield Topic("host", "umask").attempt(host.umask, umask)
    yield Topic("host", "open files").attempt(host.open_files)
    yield Topic("host", "links to others' files").attempt(host.hard_links)
    found = list(permissions(staging, registry))
    yield from found
    usable = []
    for place in (staging, registry):
        if not _has(found, place, "exists"):
            room = list(_surroundings(place))
            yield from room
            # What can't be written, or has no room, can't be tried out.
            if not _has(found, place, "access") and not _is_full(room):
                usable.append(place)
                probe = behaviour.everything
                yield from place.topic("probing").attempt_all(probe, place, seams)
    if len(usable) == 2:
        yield Topic("both", "filesystems").attempt(renames.how_many, staging, registry)
        yield Topic("both", "copying").attempt(behaviour.between, staging, registry)


def _has(found: list[Finding], place: Place, what: str) -> bool:
    """Whether there is a fault about ``what`` of ``place``."""
    about = (place.what, what, Verdict.FAULT)
    return any((f.where, f.what, f.verdict) == about for f in found)


def _surroundings(place: Place) -> Iterator[Finding]:
    yield from place.topic("mount").attempt_all(_mount, place)
    if place.what == "registry":
        yield from _each(place, INSIDE)
    yield from _each(place, ROOM)


def _is_full(room: list[Finding]) -> bool:
    """Whether nothing can be tried out, for want of room."""
    rooms = {what for what, _ in ROOM}
    return any(f.what in rooms and f.verdict is Verdict.FAULT for f in room)


def _mount(topic: Topic, place: Place) -> Iterator[Finding]:
    del topic
    all_mounts = read_mounts()
    mount = mount_of(all_mounts, os.path.realpath(place.path))
    if mount is not None:
        yield place.topic("filesystem").attempt(mounts.filesystem, place, mount)
        yield from place.topic("mount options").attempt_all(mounts.options, place, mount)
    if place.what == "registry":
        yield place.topic("mounts inside").attempt(mounts.inside, place, all_mounts)


def _each(place: Place, probes: Probes) -> Iterator[Finding]:
    for what, probe in probes:
        yield place.topic(what).attempt(probe, place)
