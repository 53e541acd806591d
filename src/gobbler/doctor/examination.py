"""The probes in one table for each stage, and the runs that use them.

A run goes through the stages in this order: the host, permissions of both directories, their
mounts, their room, and trials, which try things out in a scratch directory. Trials that are
``essential`` also run at each start of ``gobbler serve``.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from gobbler.doctor import acls, cleanup, host, locks, metadata, modes, mounts, renames, storage
from gobbler.doctor.contenders import Contender, ContenderType
from gobbler.doctor.findings import Finding, Place, Topic, Verdict
from gobbler.doctor.scratch import free_path, scratch_directory, subdirectory
from gobbler.fs.mounts import mount_of, reports_all_changes
from gobbler.fs.mounts import read as read_mounts

STAGING, REGISTRY, BOTH = ("staging",), ("registry",), ("staging", "registry")


class Tools(NamedTuple):
    """The tools of trials. Tests replace them to simulate faults that no filesystem here has."""

    contender: ContenderType = Contender
    now: Callable[[], float] = time.time


class Trial(NamedTuple):
    """The place of a trial: ``directory`` is new and empty, on the filesystem of ``place``."""

    place: Place
    directory: str
    tools: Tools


TrialFunction = Callable[[Topic, Trial], Finding | Iterable[Finding]]


class PlaceProbe(NamedTuple):
    """A probe that reads a directory and changes nothing; ``of`` names the directories."""

    what: str
    of: tuple[str, ...]
    probe: Callable[[Topic, Place], Finding]


class TrialProbe(NamedTuple):
    """A probe that tries something out; if ``essential``, it also runs before a service starts.

    If it tries what holds ``between_processes``, it starts some.
    """

    what: str
    of: tuple[str, ...]
    probe: TrialFunction
    essential: bool = False
    between_processes: bool = False


PERMISSIONS = (
    PlaceProbe("access", BOTH, modes.access),
    PlaceProbe("owner", STAGING, modes.staging_owner),
    PlaceProbe("writers", STAGING, modes.staging_writers),
    PlaceProbe("listing", STAGING, modes.staging_listing),
    PlaceProbe("sticky bit", STAGING, modes.staging_sticky),
    PlaceProbe("owner", REGISTRY, modes.registry_owner),
    PlaceProbe("writers", REGISTRY, modes.registry_writers),
    PlaceProbe("readers", REGISTRY, modes.registry_readers),
    PlaceProbe("way to it", BOTH, modes.reach),
    PlaceProbe("directories above", BOTH, modes.replaceable),
    PlaceProbe("cleanup", STAGING, cleanup.leftovers),
    PlaceProbe("ACL", BOTH, acls.access_acl),
    PlaceProbe("default ACL", BOTH, acls.default_acl),
)

LAYOUT = (PlaceProbe("one filesystem", REGISTRY, renames.one_filesystem),)

NEIGHBOURS = (PlaceProbe("neighbours", REGISTRY, storage.neighbours),)

ROOM = (
    PlaceProbe("space", BOTH, storage.space),
    PlaceProbe("inodes", BOTH, storage.inodes),
)


def _in_directory(probe: Callable[[Topic, str], Finding]) -> TrialFunction:
    return lambda topic, trial: probe(topic, trial.directory)


def _with_contenders(
    probe: Callable[[Topic, str, ContenderType], Finding | Iterable[Finding]],
) -> TrialFunction:
    return lambda topic, trial: probe(topic, trial.directory, trial.tools.contender)


def _publication(topic: Topic, trial: Trial) -> Finding:
    with free_path(trial.place) as target:
        return renames.publication(topic, trial.directory, target)


def _clock(topic: Topic, trial: Trial) -> Finding:
    return metadata.clock(topic, trial.directory, trial.tools.now)


TRIALS = (
    TrialProbe("new files", REGISTRY, _in_directory(modes.modes_made), essential=True),
    TrialProbe("modes", STAGING, _in_directory(acls.kept_modes)),
    TrialProbe("rename", REGISTRY, _publication, essential=True),
    TrialProbe("rename over", REGISTRY, _in_directory(renames.over_directories), essential=True),
    TrialProbe(
        "exclusive creation",
        BOTH,
        _with_contenders(renames.exclusive_creation),
        essential=True,
        between_processes=True,
    ),
    TrialProbe(
        "locks",
        REGISTRY,
        _with_contenders(locks.locks),
        essential=True,
        between_processes=True,
    ),
    TrialProbe("replacing", REGISTRY, _with_contenders(renames.replacing), between_processes=True),
    TrialProbe("hard links", REGISTRY, _in_directory(renames.hard_links)),
    TrialProbe("copying", REGISTRY, _in_directory(storage.copying_inside)),
    TrialProbe("symbolic links", BOTH, _in_directory(renames.symbolic_links)),
    TrialProbe("clock", BOTH, _clock),
    TrialProbe("times", BOTH, _in_directory(metadata.granularity)),
    TrialProbe("long names", BOTH, _in_directory(metadata.long_names)),
    TrialProbe("names", BOTH, _in_directory(metadata.kept_names)),
    TrialProbe("letter case", BOTH, _in_directory(metadata.letter_case)),
    TrialProbe("flushing", BOTH, _in_directory(storage.flushing)),
)


def permissions(staging: Place, registry: Place) -> Iterator[Finding]:
    """The findings on permissions of both directories; a missing one has a single finding."""
    both = (staging, registry)
    found = [place.topic("exists").attempt(modes.existence, place) for place in both]
    yield from found
    if not any(finding.refused for finding in found):
        yield Topic("both", "apart").attempt(modes.apart, staging, registry)
    for place, exists in zip(both, found, strict=True):
        if not exists.refused:
            yield from _read_only(place, PERMISSIONS)
            yield from own_directories(place)


def own_directories(place: Place) -> Iterator[Finding]:
    """Whether the service's own directories in ``place`` are its own."""
    for path, mode in place.own:
        yield place.topic(os.path.basename(path)).attempt(modes.own_directory, path, mode)


def quick(registry: Place, tools: Tools | None = None) -> Iterator[Finding]:
    """The findings that decide whether a service may start on this registry."""
    yield from _read_only(registry, LAYOUT)
    room = list(_read_only(registry, ROOM))
    yield from room
    if not _is_full(room):
        # The kernel of this host decides between processes in a local filesystem. Only a server,
        # or a program that stands in for one, may decide wrongly.
        is_remote = not reports_all_changes(registry.path)
        yield from try_out(
            registry, tools or Tools(), only_essential=True, between_processes=is_remote
        )


def examine(staging: str, registry: str, tools: Tools | None = None) -> list[Finding]:
    """Everything about the two directories and this host. Leaves nothing behind."""
    with host.service_umask() as umask:
        places = Place("staging", staging), Place("registry", registry)
        return list(_examine(*places, umask, tools or Tools()))


def _examine(staging: Place, registry: Place, umask: int, tools: Tools) -> Iterator[Finding]:
    yield Topic("host", "account").attempt(host.account, registry.path)
    yield Topic("host", "installation").attempt(host.installation)
    yield Topic("host", "umask").attempt(host.umask, umask)
    yield Topic("host", "open files").attempt(host.open_files)
    yield Topic("host", "links to others' files").attempt(host.hard_links)
    found = list(permissions(staging, registry))
    yield from found
    usable = []
    for place in (staging, registry):
        if not _has_fault(found, place, "exists"):
            room = list(_surroundings(place))
            yield from room
            # Trials need to write, and room for it.
            if not _has_fault(found, place, "access") and not _is_full(room):
                usable.append(place)
                yield from try_out(place, tools)
    if len(usable) == 2:
        yield Topic("both", "filesystems").attempt(renames.how_many, staging, registry)
        yield Topic("both", "copying").attempt(_copying, staging, registry)


def _copying(topic: Topic, staging: Place, registry: Place) -> Finding:
    with scratch_directory(staging) as source, scratch_directory(registry) as target:
        return storage.copying(topic, source, target)


def _has_fault(found: list[Finding], place: Place, what: str) -> bool:
    about = (place.what, what, Verdict.FAULT)
    return any((f.where, f.what, f.verdict) == about for f in found)


def _surroundings(place: Place) -> Iterator[Finding]:
    yield from place.topic("mount").attempt_all(_mount, place)
    yield from _read_only(place, LAYOUT)
    yield from _read_only(place, NEIGHBOURS)
    yield from _read_only(place, ROOM)


def _is_full(room: list[Finding]) -> bool:
    """Whether a filesystem has no room for trials."""
    rooms = {probe.what for probe in ROOM}
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


def _read_only(place: Place, probes: Iterable[PlaceProbe]) -> Iterator[Finding]:
    for each in probes:
        if place.what in each.of:
            yield place.topic(each.what).attempt(each.probe, place)


def try_out(
    place: Place, tools: Tools, *, only_essential: bool = False, between_processes: bool = True
) -> Iterator[Finding]:
    """The findings of the trials in ``place``, each in an empty directory."""
    trials = [
        each
        for each in TRIALS
        if place.what in each.of
        and (each.essential or not only_essential)
        and (between_processes or not each.between_processes)
    ]
    yield from place.topic("probing").attempt_all(_try_out, place, tools, trials)


def _try_out(
    topic: Topic, place: Place, tools: Tools, trials: Iterable[TrialProbe]
) -> Iterator[Finding]:
    del topic
    with scratch_directory(place) as directory:
        for each in trials:
            yield from place.topic(each.what).attempt_all(_run, each, place, directory, tools)


def _run(
    topic: Topic, trial: TrialProbe, place: Place, scratch: str, tools: Tools
) -> Iterator[Finding]:
    with subdirectory(scratch) as directory:
        found = trial.probe(topic, Trial(place, directory, tools))
        yield from [found] if isinstance(found, Finding) else found
