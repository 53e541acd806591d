"""The quick probes at the start of a service: faults that it refuses, and warnings that it logs."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gobbler.doctor import examination
from gobbler.doctor.contenders import Contender
from gobbler.doctor.examination import Tools, quick, try_out
from gobbler.errors import Misconfigured
from gobbler.service import settings as subject
from gobbler.service.settings import Settings, check_directories

from .doctoring import World, fill, mounted, new_world, small


@pytest.fixture
def world() -> Iterator[World]:
    with new_world() as made:
        yield made


@pytest.fixture
def reported(world: World, caplog: pytest.LogCaptureFixture):
    """Check the directories as a service does at its start; what it logs."""

    def reported(**changes: str) -> str:
        caplog.clear()
        settings = Settings(world.staging.path, world.registry.path, frozenset())
        with caplog.at_level(logging.INFO, "gobbler"):
            check_directories(replace(settings, **changes))
        assert all(record.levelno == logging.WARNING for record in caplog.records)
        return "\n".join(record.getMessage() for record in caplog.records)

    return reported


def test_good_directories_are_nothing_to_talk_about(reported, world: World) -> None:
    reported()
    about_the_machine = ("free", "only")  # a nearly full disk is reported
    lines = [
        line for line in reported().splitlines() if not all(w in line for w in about_the_machine)
    ]
    assert lines == []
    assert sorted(os.listdir(world.registry.path)) == ["..incoming", "..logs"]
    assert os.listdir(f"{world.registry.path}/..incoming") == []


def test_a_missing_sticky_bit_is_reported_with_its_remedy(reported, world: World) -> None:
    os.chmod(world.staging.path, 0o777)
    assert f"chmod +t {world.staging.path}" in reported()


def test_a_registry_for_a_group_only_is_reported(reported, world: World) -> None:
    os.chmod(world.registry.path, 0o750)
    assert "over HTTP only" in reported()


def seen_by(monkeypatch: pytest.MonkeyPatch, party: type[Contender]) -> None:
    monkeypatch.setattr(
        subject, "quick", lambda place: try_out(place, Tools(party), only_essential=True)
    )


class Everybodys(Contender):
    def ask(self, *words: object) -> str:
        return "held" if words[0] == "lock" else super().ask(*words)


class Generous(Contender):
    def receive(self) -> str:
        return super().receive().replace("0", "1")


def test_locks_for_everybody_are_reported_but_served(
    reported, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen_by(monkeypatch, Everybodys)
    message = reported()
    assert f"the registry directory {world.registry.path}: flock succeeds for everybody" in message
    assert "-o flock" in message


def test_creation_that_is_not_exclusive_is_not_served(
    reported, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen_by(monkeypatch, Generous)
    with pytest.raises(Misconfigured, match="not exclusive") as caught:
        reported()
    assert world.registry.path in caught.value.reason
    assert caught.value.hint
    assert os.listdir(f"{world.registry.path}/..incoming") == [], "the probes are cleaned up after"


@pytest.mark.parametrize("kind", ["another filesystem", "the same one, mounted there"])
def test_incoming_on_another_mount_is_not_served(reported, world: World, kind: str) -> None:
    reported()
    incoming = f"{world.registry.path}/..incoming"
    mount = (
        small(incoming) if kind == "another filesystem" else mounted(incoming, "--bind", incoming)
    )
    with mount:
        os.chmod(incoming, 0o700)
        with pytest.raises(Misconfigured, match=r"filesystem") as caught:
            reported()
    assert "ordinary director" in caught.value.hint


def test_own_directories_that_everybody_can_write_are_not_served(reported, world: World) -> None:
    reported()
    for path, mode in (*world.staging.own, *world.registry.own):
        os.chmod(path, 0o777)
        with pytest.raises(
            Misconfigured, match=r"is writable by others|remove files of others"
        ) as caught:
            reported()
        assert caught.value.hint == f"chmod {mode:04o} {path}"
        os.chmod(path, mode)


def test_somebody_who_is_quicker_gains_nothing(
    reported, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "_make_own", lambda path, mode: Path(path).symlink_to(world.top))
    with pytest.raises(Misconfigured, match="not a directory of the service's own account"):
        reported()


def test_own_directories_that_can_not_be_made_are_named(reported, world: World) -> None:
    with small(world.registry.path, more=",nr_inodes=1"), pytest.raises(Misconfigured) as caught:
        reported()
    assert "could not make the directory" in caught.value.reason
    assert "..logs: No space left on device" in caught.value.reason


def test_a_full_disk_is_reported_but_served(reported, world: World) -> None:
    with small(world.registry.path):
        reported()
        fill(world.registry.path)
        assert (
            f"the filesystem of the registry directory {world.registry.path} is full" in reported()
        )


class Unwanted(Contender):
    def __init__(self, *_: object) -> None:
        raise AssertionError("a process was started")


def test_processes_compete_only_where_a_server_decides_between_them(
    reported, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    reported()  # makes the directories
    made: list[str] = []

    class Noted(Contender):
        def __init__(self, directory: str) -> None:
            made.append(directory)
            super().__init__(directory)

    assert [f.what for f in quick(world.registry, Tools(Unwanted)) if f.refused] == []
    monkeypatch.setattr(examination, "reports_all_changes", lambda path: False)
    found = {finding.what for finding in quick(world.registry, Tools(Noted))}
    assert {"exclusive creation", "locks"} <= found
    assert len(made) > 2
