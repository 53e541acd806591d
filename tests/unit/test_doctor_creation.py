"""Exclusive creation among racing processes; modes of what is made."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gobbler.doctor import modes, renames
from gobbler.doctor.contenders import Contender

from .doctoring import FAULT, OK, TOPIC


def test_each_file_has_one_creator(tmp_path: Path) -> None:
    found = renames.exclusive_creation(TOPIC, str(tmp_path))
    assert found.verdict is OK
    assert len(os.listdir(tmp_path)) == renames.ROUNDS, "they did race"


def test_all_of_several_processes_win_sometimes(tmp_path: Path) -> None:
    wins: list[str] = []

    class ActionDoc(Contender):
        def receive(self) -> str:
            wins.append(super().receive())
            return wins[-1]

    for number in range(20):
        (tmp_path / str(number)).mkdir()
        assert (
            renames.exclusive_creation(TOPIC, str(tmp_path / str(number)), ActionDoc).verdict is OK
        )
        racers = [wins[i :: renames.RACERS] for i in range(renames.RACERS)]
        if all("1" in "".join(own) for own in racers):
            return
    pytest.fail("the processes don't race: one wins always")


class Generous(Contender):
    """Sees a filesystem that says yes to everybody who creates a file."""

    def receive(self) -> str:
        return super().receive().replace("0", "1")


class Stingy(Contender):
    """Sees a filesystem that says no to everybody."""

    def receive(self) -> str:
        return super().receive().replace("1", "0")


@pytest.mark.parametrize("party", [Generous, Stingy])
def test_another_number_of_winners_is_refused(tmp_path: Path, party: type[Contender]) -> None:
    found = renames.exclusive_creation(TOPIC, str(tmp_path), party)
    assert (found.verdict, found.refused) == (FAULT, True)
    assert "not exclusive" in found.sentence


@pytest.mark.parametrize(
    ("umask", "refused", "said"), [(0o022, None, "0644"), (0o077, False, "can't read")]
)
def test_modes_of_what_is_made(tmp_path: Path, umask: int, refused: bool | None, said: str) -> None:
    before = os.umask(umask)  # stands for mount options and lists that take rights away
    try:
        found = modes.modes_made(TOPIC, str(tmp_path))
    finally:
        os.umask(before)
    assert said in found.sentence
    assert found.verdict is (OK if refused is None else FAULT)


@pytest.mark.parametrize(("more", "refused"), [(0o020, False), (0o002, True)])
def test_what_others_could_write_is_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: int, refused: bool
) -> None:
    # As with file_mode= of CIFS: every file has one mode, whatever it was made with.
    monkeypatch.setattr(modes, "FILE_MODE", 0o644 | more)
    before = os.umask(0)
    try:
        found = modes.modes_made(TOPIC, str(tmp_path))
    finally:
        os.umask(before)
    assert (found.verdict, found.refused) == (FAULT, refused)
    assert "others can change" in found.sentence


def test_owners_that_are_mapped_are_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    present = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: present + 1)
    found = modes.modes_made(TOPIC, str(tmp_path))
    assert found.verdict is FAULT
    assert "do not belong to the account" in found.sentence
