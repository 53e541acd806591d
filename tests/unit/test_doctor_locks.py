"""``flock`` between real processes; and what is said where it does not do what it should."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest

from gobbler.doctor import locks
from gobbler.doctor.contender import BUSY, HELD
from gobbler.doctor.contenders import Contender, ContenderType
from gobbler.doctor.findings import Finding

from .doctoring import FAULT, OK, TOPIC, WARNING


def probed(directory: Path, party: ContenderType = Contender) -> list[Finding]:
    return list(TOPIC.attempt_all(locks.locks, str(directory), party))


def bad(findings: list[Finding]) -> list[Finding]:
    return [found for found in findings if found.verdict is not OK]


def test_locks_of_a_local_filesystem(tmp_path: Path) -> None:
    found = probed(tmp_path)
    assert bad(found) == []
    assert [each.sentence for each in found] == [
        "flock excludes other processes",
        "shared locks exclude exclusive ones, and not each other",
        "flock excludes other threads of a process",
        "flock is independent of record locks",
        "a lock ends with its process",
    ]


class Everybodys(Contender):
    """Sees a mount on which ``flock`` succeeds for everybody."""

    def ask(self, *words: object) -> str:
        return HELD if words[0] == "lock" else super().ask(*words)


def test_locks_that_everybody_gets_are_a_fault_but_not_refused(tmp_path: Path) -> None:
    (found,) = probed(tmp_path, Everybodys)
    assert (found.verdict, found.refused) == (FAULT, False)
    assert "succeeds for everybody" in found.sentence
    assert "-o flock" in found.remedy


class Unlockable(Contender):
    """Sees a mount without ``flock``."""

    def ask(self, *words: object) -> str:
        if words[0] == "lock":
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        return super().ask(*words)


def test_a_mount_without_locks_is_refused(tmp_path: Path) -> None:
    (found,) = probed(tmp_path, Unlockable)
    assert (found.verdict, found.refused) == (FAULT, True)
    assert "no locks" in found.sentence


class Hanging(Contender):
    """Sees a lock service that does not answer: the process is stopped."""

    def __init__(self, directory: str) -> None:
        super().__init__(directory, timeout=0.2)

    def ask(self, *words: object) -> str:
        if words[0] == "lock":
            return super().ask("watch", "nothing", "z", 60)
        return super().ask(*words)


def test_locks_that_hang_are_given_up(tmp_path: Path) -> None:
    begun = time.monotonic()
    (found,) = probed(tmp_path, Hanging)
    assert (found.verdict, found.refused) == (FAULT, False)
    assert "hangs" in found.sentence
    assert time.monotonic() - begun < 30, "far from the minute that the process would take"


def lying(words: tuple[object, ...], answer: str) -> ContenderType:
    """Processes that hear ``answer`` to commands that begin with ``words``."""

    class Lying(Contender):
        def ask(self, *asked: object) -> str:
            reported = super().ask(*asked)
            return answer if asked[: len(words)] == words else reported

    return Lying


def test_shared_locks_that_exclude_each_other_are_only_slow(tmp_path: Path) -> None:
    (found,) = bad(probed(tmp_path, lying(("lock", "lock", "shared"), BUSY)))
    assert found.verdict is WARNING
    assert "wait for each other" in found.sentence


def test_shared_locks_beside_exclusive_ones_are_a_fault(tmp_path: Path) -> None:
    (found,) = bad(probed(tmp_path, lying(("lock", "lock", "shared"), HELD)))
    assert found.verdict is FAULT
    assert "shared and exclusive" in found.sentence


def test_a_lock_that_is_emulated_is_reported(tmp_path: Path) -> None:
    found = probed(tmp_path, lying(("record",), BUSY))
    assert bad(found) == []
    assert "flock is implemented by record locks, as NFS does for all clients" in [
        each.sentence for each in found
    ]


def test_a_lock_that_outlives_its_holder_is_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Immortal(Contender):
        """Does not die while others look, as on a server that keeps its locks."""

        killed = False

        def kill(self) -> None:
            if self.killed:
                super().kill()
            self.killed = True

    monkeypatch.setattr(locks, "FREED_WITHIN", 0.1)
    parties: list[Immortal] = []

    def party(directory: str) -> Contender:
        parties.append(Immortal(directory))
        return parties[-1]

    (found,) = bad(probed(tmp_path, party))
    for each in parties:
        each.kill()
        each.kill()
    assert found.verdict is FAULT
    assert "killed" in found.sentence


def test_a_process_that_ends_is_reported(tmp_path: Path) -> None:
    with Contender(str(tmp_path)) as party:
        party.ready()
        with pytest.raises(OSError, match="No such file"):
            party.ask("lock", "missing/lock", "exclusive")
        party.send("nonsense")
        with pytest.raises(ChildProcessError):
            party.receive()
