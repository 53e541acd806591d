"""What a directory's filesystem does, tried out in a workplace in it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Concatenate, ParamSpec

from gobbler.doctor import clocks, creation, filenames, locks, renames, storage
from gobbler.doctor.contenders import Parties, Party
from gobbler.doctor.findings import Finding, Topic
from gobbler.doctor.places import Place
from gobbler.doctor.scratch import corner, passing_place, workplace

P = ParamSpec("P")


@dataclass(frozen=True)
class Seams:
    """What tests replace to show faults that no filesystem at hand has."""

    party: Parties = Party
    now: Callable[[], float] = time.time


REAL = Seams()


def essentials(topic: Topic, registry: Place, seams: Seams) -> Iterator[Finding]:
    """What a service must know of the registry before it starts."""
    del topic
    with workplace(registry) as directory:
        yield from _essentials(_Trial(registry, directory), seams)


def everything(topic: Topic, place: Place, seams: Seams) -> Iterator[Finding]:
    """All that can be tried out in one of the directories."""
    del topic
    with workplace(place) as directory:
        trial = _Trial(place, directory)
        if place.what == "registry":
            yield from _essentials(trial, seams)
            yield trial.of("replacing", renames.replacing, seams.party)
            yield trial.of("hard links", renames.hard_links)
            yield trial.of("copying", storage.copying_inside)
        else:
            yield trial.of("exclusive creation", creation.exclusive_creation, seams.party)
        yield trial.of("symbolic links", renames.symbolic_links)
        yield trial.of("clock", clocks.clock, seams.now)
        yield trial.of("times", clocks.granularity)
        yield trial.of("long names", filenames.long_names)
        yield trial.of("names", filenames.kept_names)
        yield trial.of("letter case", filenames.letter_case)
        yield trial.of("flushing", storage.flushing)


def between(topic: Topic, staging: Place, registry: Place) -> Finding:
    """How files get from one directory to the other."""
    with workplace(staging) as source, workplace(registry) as target:
        return storage.copying(topic, source, target)


@dataclass(frozen=True)
class _Trial:
    """A place, and the workplace in it."""

    place: Place
    directory: str

    def of(
        self,
        what: str,
        probe: Callable[Concatenate[Topic, str, P], Finding],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Finding:
        """What ``probe`` finds about ``what`` in an empty directory of its own."""

        def inside(topic: Topic) -> Finding:
            with corner(self.directory) as directory:
                return probe(topic, directory, *args, **kwargs)

        return self.place.topic(what).attempt(inside)


def _essentials(trial: _Trial, seams: Seams) -> Iterator[Finding]:
    yield trial.of("new files", creation.modes_made)
    yield trial.of("rename", _publication, trial.place)
    yield trial.of("rename over", renames.over_directories)
    yield trial.of("exclusive creation", creation.exclusive_creation, seams.party)
    yield from trial.place.topic("locks").attempt_all(_locks, trial.directory, seams.party)


def _publication(topic: Topic, directory: str, registry: Place) -> Finding:
    with passing_place(registry) as target:
        return renames.publication(topic, directory, target)


def _locks(topic: Topic, workplace: str, party: Parties) -> Iterator[Finding]:
    with corner(workplace) as directory:
        yield from locks.locks(topic, directory, party)
