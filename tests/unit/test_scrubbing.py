"""What is told of versions that are wrong, and how far a sweep is."""

from __future__ import annotations

from gobbler.cli.validate import next_command
from gobbler.client.bulk.run import Pace


def test_next_command():
    records = ["p/a/1/..manifest is damaged: odd", "p/a/1/x/..links is damaged: odd"]
    assert next_command("p/a/1", records) == "gobbler reindex p/a/1 && gobbler validate p/a/1"
    lost = [*records, '"foo" is missing']
    assert next_command("p/a b/1", lost) == "gobbler validate 'p/a b/1'"
    assert next_command("p/a/1", ["p/a/1/..summary is damaged: odd"]) == "gobbler validate p/a/1"


def test_pace():
    pace = Pace()
    assert (pace.rate, pace.seconds_left) == (0, None)
    pace.expect_versions(4, None)
    pace.advance_versions(1)
    assert pace.seconds_left is not None
    pace.expect_versions(4, 4000)
    pace.advance_versions(1)
    pace.advance(5, 2000)
    assert (pace.tasks, pace.files, pace.bytes) == (2, 5, 2000)
    pace.advance(-5, -2000)
    assert (pace.files, pace.bytes, pace.rate) == (0, 0, 0)
    pace.advance_versions(2)
    pace.advance(8, 4000)
    assert pace.rate > 0
    assert pace.seconds_left == 0
