"""What is told of versions that are wrong, and how far a sweep is."""

from __future__ import annotations

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
