"""The ledger of bulk runs: used by several processes, and with a missing or damaged file."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import msgspec
import pytest

from gobbler.client.bulk import state_file
from gobbler.client.bulk.ledger import Ledger, ValidationRecord, hold_claims, ledger_path
from gobbler.client.bulk.state_file import StateFile
from gobbler.client.notices import StepFailed
from gobbler.errors import Fault
from gobbler.model.names import VersionKey

KEY = VersionKey("p", "a", "1")
KEPT = ValidationRecord("ada 1 2", 12.5, 0.25, 3, 4096, ("one", "two"))
CODED = ValidationRecord("ada 1 2", 12.5, 0.25, 3, 4096, ("one",), "damaged-record")


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture(params=[True, False], ids=["local", "network"])
def ledger(request, monkeypatch):
    """On a disk of this host, and as on one that other hosts share."""
    monkeypatch.setattr(state_file, "reports_all_changes", lambda path: request.param)
    with Ledger("http://x", "/data") as opened:
        yield opened


def test_each_registry_has_its_own(state):
    paths = {
        ledger_path(*of)
        for of in [("http://x", "/a"), ("http://x", "/b"), ("http://y", "/a"), (None, "/a")]
    }
    assert len(paths) == 4
    assert all(Path(path).is_relative_to(state) for path in paths)


def test_versions(ledger):
    assert ledger.validations() == {}
    assert ledger.validated_at(KEY) is None
    ledger.record(KEY, KEPT)
    with Ledger("http://x", "/data") as other:
        assert other.validations() == {KEY: KEPT}
        assert other.validated_at(KEY) == 12.5
        other.record(KEY, ValidationRecord("new", 13.0, 0.0, 0, 0, ()))
    assert ledger.validations()[KEY].fingerprint == "new"
    ledger.forget(KEY)
    assert ledger.validations() == {}


def test_all_of_a_change_or_nothing(ledger):
    def fail():
        with ledger.transaction():
            ledger.record(KEY, KEPT)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert ledger.validations() == {}
    ledger.record(KEY, KEPT)
    assert ledger.validations() == {KEY: KEPT}


def test_runs(ledger):
    assert ledger.unfinished_run("refresh", "p") is None
    run = ledger.begin_run("refresh", "p", restart=False)
    ledger.mark_done(run, "x")
    ledger.mark_done(run, "x")
    with Ledger("http://x", "/data") as other:
        assert other.begin_run("refresh", "p", restart=False) == run
        assert other.done_tasks(run) == {"x"}
        assert (other.is_done(run, "x"), other.is_done(run, "y")) == (True, False)
    assert ledger.unfinished_run("refresh", "") is ledger.unfinished_run("reindex", "p") is None
    anew = ledger.begin_run("refresh", "p", restart=True)
    assert anew.id != run.id
    assert ledger.done_tasks(anew) == ledger.done_tasks(run) == set()
    ledger.end_run(anew)
    assert ledger.unfinished_run("refresh", "p") is None


def test_claims(ledger):
    with hold_claims(ledger) as one, hold_claims(ledger) as other:
        assert one.claim("validate", "x")
        assert one.claim("validate", "x")
        assert not other.claim("validate", "x")
        assert other.claim("reindex", "x")
        ledger.release(one.holder, "x")
        assert other.claim("validate", "x")
        assert one.claim("validate", "y")
    with hold_claims(ledger) as third:
        assert third.claim("validate", "x")
        assert third.claim("validate", "y")
    assert os.listdir(f"{ledger.path}.runs") == []


CLAIMANT = """
    import sys, time
    from gobbler.client.bulk.ledger import hold_claims
    from gobbler.client.bulk.ledger import Ledger

    with Ledger("http://x", "/data") as ledger, hold_claims(ledger) as claims:
        assert claims.claim("validate", "x")
        print("claimed", flush=True)
        time.sleep(600)
"""


def test_claims_of_the_dead(ledger):
    """Of one that is killed while others are at work, and of one before them."""
    command = [sys.executable, "-c", textwrap.dedent(CLAIMANT)]
    for is_early in (True, False):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as claimant:
            try:
                assert claimant.stdout is not None
                assert claimant.stdout.readline() == "claimed\n"
                if is_early:
                    claimant.send_signal(signal.SIGKILL)
                    claimant.wait()
                with hold_claims(ledger) as ours:
                    if not is_early:
                        assert not ours.claim("validate", "x")
                        claimant.send_signal(signal.SIGKILL)
                        claimant.wait()
                    assert ours.claim("validate", "x")
            finally:
                claimant.kill()
    assert os.listdir(f"{ledger.path}.runs") == []


WRITER = """
    import sys
    from gobbler.client.bulk.ledger import ValidationRecord, Ledger
    from gobbler.model.names import VersionKey

    for i in range(20):
        with Ledger("http://x", "/data") as ledger:
            key = VersionKey("p", sys.argv[1], str(i))
            ledger.record(key, ValidationRecord("", 1.0, 1.0, 1, 1, ()))
"""


def test_several_processes_write():
    command = [sys.executable, "-c", textwrap.dedent(WRITER)]
    writers = [subprocess.Popen([*command, name]) for name in "abc"]
    assert [writer.wait(120) for writer in writers] == [0, 0, 0]
    with Ledger("http://x", "/data") as ledger:
        assert len(ledger.validations()) == 60


@pytest.mark.parametrize("damage", ["text", "zeros", "cut"])
def test_what_is_damaged_is_set_aside(damage):
    """What can be read of problems is still known; that versions were valid is not believed."""
    valid = msgspec.structs.replace(KEPT, problems=())
    wrong = {VersionKey("p", "a", str(i)): KEPT for i in range(0, 400, 2)}
    with Ledger("http://x", "/data") as ledger, ledger.transaction():
        for i in range(400):
            key = VersionKey("p", "a", str(i))
            ledger.record(key, wrong.get(key, valid))
    path = Path(ledger.path)
    content = path.read_bytes()
    if damage == "text":
        path.write_bytes(b"What is this? " * 1000)
    elif damage == "zeros":
        path.write_bytes(content[:4096] + bytes(len(content) - 4096))
    else:
        path.write_bytes(content[: len(content) * 4 // 5])
    with pytest.warns(StepFailed, match="is damaged .*set aside as .*damaged-") as warned:
        anew = Ledger("http://x", "/data")
    with anew:
        known = anew.validations()
        assert known.items() <= wrong.items()
        assert bool(known) == (damage == "cut")
        anew.record(KEY, KEPT)
    (aside,) = [p for p in path.parent.iterdir() if re.search(r"\.damaged-\d+\Z", p.name)]
    (warning,) = warned
    assert str(aside) in str(warning.message)
    with Ledger("http://x", "/data") as again:
        assert again.validations() == {**known, KEY: KEPT}


def test_what_is_of_a_later_version_is_left_alone(monkeypatch):
    monkeypatch.setattr("gobbler.client.bulk.ledger.LEDGER_FORMAT", 2)
    with Ledger("http://x", "/data") as later:
        later.record(KEY, KEPT)
    monkeypatch.undo()
    monkeypatch.setenv("XDG_STATE_HOME", str(Path(later.path).parents[2]))
    with pytest.raises(Fault, match="newer") as caught:
        Ledger("http://x", "/data")
    assert "XDG_STATE_HOME" in caught.value.hint
    assert len([p for p in Path(later.path).parent.iterdir() if "damaged" in p.name]) == 0


def test_where_nothing_can_be_kept(state, tmp_path, monkeypatch):
    """The results go to the temporary directory; only where that is no use, the run fails."""
    state.parent.mkdir(exist_ok=True)
    state.write_text("a file")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    with pytest.warns(StepFailed, match="can't be recorded in .*recording in .*/temporary/"):
        ledger = Ledger("http://x", "/data")
    with ledger:
        ledger.record(KEY, KEPT)
    with Ledger("http://x", "/data") as again:
        assert again.validations() == {KEY: KEPT}
    for path in temporary.rglob("*.sqlite"):
        path.unlink()
        path.mkdir()
    with pytest.raises(Fault, match="can't be recorded") as caught:
        Ledger("http://x", "/data")
    assert "XDG_STATE_HOME" in caught.value.hint


def test_problems_are_known_though_their_file_may_not_be_written(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with Ledger("http://x", "/data") as ledger:
        ledger.record(KEY, KEPT)
        ledger.record(VersionKey("p", "a", "2"), msgspec.structs.replace(KEPT, problems=()))
    path = ledger.path

    class ReadOnly(StateFile):
        def _open(self):
            if self.path == path:
                raise sqlite3.OperationalError("attempt to write a readonly database")
            return super()._open()

    monkeypatch.setattr("gobbler.client.bulk.ledger.StateFile", ReadOnly)
    with pytest.warns(StepFailed, match="instead"):
        instead = Ledger("http://x", "/data")
    with instead:
        assert instead.path != path
        assert instead.validations() == {KEY: KEPT}
        instead.record(KEY, CODED)
        newer = msgspec.structs.replace(KEPT, finished=99.0, problems=())
        instead.record(KEY, newer)
    with Ledger("http://x", "/data") as again:
        assert again.validations() == {KEY: newer}


def test_the_code_of_a_validation_is_kept(ledger):
    for record in (KEPT, CODED):
        ledger.record(KEY, record)
        assert ledger.validations() == {KEY: record}
