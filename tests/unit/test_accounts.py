"""Which names are accounts of this host, however long that takes."""

from __future__ import annotations

import pwd
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from gobbler.fs import accounts
from gobbler.fs.accounts import MAX_LOOKUPS, MAX_NAMES, known_name, without_account

PATIENCE = 60.0


def test_names_without_an_account_are_told_once_and_in_order() -> None:
    me = pwd.getpwall()[0].pw_name
    asked = ["no-such-user", me, "a\0b", "", "x" * 5000, "no-such-user", "\udcff"]
    assert without_account(asked, PATIENCE) == ["no-such-user", "a\0b", "", "x" * 5000, "\udcff"]
    assert without_account([], PATIENCE) == []


def test_no_more_names_are_looked_up_than_a_few() -> None:
    assert len(without_account([f"nobody-{n}" for n in range(500)], PATIENCE)) == MAX_NAMES


def test_a_lookup_that_hangs_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    hangs = threading.Event()
    begun = threading.Semaphore(0)

    def look_up(name: str) -> None:
        begun.release()
        hangs.wait(PATIENCE)
        raise KeyError(name)

    monkeypatch.setattr(accounts.pwd, "getpwnam", look_up)
    for _ in range(MAX_LOOKUPS):
        assert without_account(["slow"], 0.0) == []
        assert begun.acquire(timeout=PATIENCE)
    assert without_account(["slow"], PATIENCE) == []  # there is no place for another
    assert not begun.acquire(blocking=False)
    hangs.set()
    for thread in threading.enumerate():
        if thread.name == "accounts":
            thread.join(PATIENCE)
    assert without_account(["slow"], PATIENCE) == ["slow"]


def test_a_name_is_remembered_until_an_account_changes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    passwd = tmp_path / "passwd"
    passwd.write_text("")
    monkeypatch.setattr(accounts, "ACCOUNT_FILES", (str(passwd),))
    names = {54_000: "alice"}
    asked: list[int] = []

    def getpwuid(uid: int) -> SimpleNamespace:
        asked.append(uid)
        return SimpleNamespace(pw_name=names[uid])

    monkeypatch.setattr(accounts.pwd, "getpwuid", getpwuid)
    assert [known_name(54_000), known_name(54_000), known_name(54_001)] == ["alice", "alice", None]
    assert asked.count(54_000) == 1
    names[54_001] = "bob"
    assert known_name(54_001) == "bob", "that there was none is not remembered"
    names[54_000] = "carol"
    passwd.write_text("carol:x:54000:54000::/:/bin/sh\n")
    assert known_name(54_000) == "carol"
