"""The report on wrong versions, and the progress of a bulk run."""

from __future__ import annotations

from gobbler.cli.bulk import BulkBar
from gobbler.cli.validate import next_command
from gobbler.client.bulk.run import BulkCounter


def test_next_command():
    repair = "gobbler reindex p/a/1 && gobbler validate p/a/1"
    assert next_command("p/a/1", "damaged-record") == repair
    assert next_command("p/a b/1", "invalid-version") == "gobbler validate 'p/a b/1'"
    assert next_command("p/a/1", "") == "gobbler validate p/a/1"


def test_a_counter_estimates_the_rest():
    counter = BulkCounter()
    assert (counter.rate, counter.seconds_left) == (0, None)
    counter.expect_versions(4, None)
    counter.advance_versions(1)
    assert counter.seconds_left is not None
    counter.expect_versions(4, 4000)
    counter.advance_versions(1)
    counter.advance(5, 2000)
    assert (counter.versions, counter.files, counter.bytes) == (2, 5, 2000)
    counter.advance(-5, -2000)
    assert (counter.files, counter.bytes, counter.rate) == (0, 0, 0)
    counter.advance_versions(2)
    counter.advance(8, 4000)
    assert counter.rate > 0
    assert counter.seconds_left == 0


def test_a_bar_on_a_terminal_shows_the_versions(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    with BulkBar("verifying", "versions") as bar:
        bar.expect_versions(2, 10)
        bar.advance(1, 5)
        bar.advance_versions(1)
        bar.note("a note")
    err = capsys.readouterr().err
    assert "1/2 versions, 1 file, 5 bytes/10 bytes" in err
    assert "a note" in err
