"""Validating all versions: which, in which order, and the results."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path

import pytest

from gobbler.client import Budget, Client
from gobbler.client.bulk import validate
from gobbler.client.bulk.ledger import Ledger
from gobbler.client.testing import TestService
from gobbler.errors import Fault, Forbidden, Missing, Refused

from .bulk import COUNT, Notes, damage, published, reader, state
from .processes import wait_for

__all__ = ["published", "reader", "state"]


@pytest.mark.parametrize("parallel", [1, 3])
def test_all_are_verified_and_what_is_wrong_is_reported(reader, service, published, parallel):
    damage(service, f"{published}/b/1")
    Path(service.registry, published, "a", "2", "..summary").write_text("{")
    Path(service.registry, published, "a", "3", "..manifest").write_text("[")
    progress = Notes()
    sweep = reader.admin.validate_all(published, parallel=parallel, progress=progress)
    assert sweep.tasks == tuple(f"{published}/{a}/{v}" for a in "ab" for v in "123")
    assert (sweep.resumed, sweep.left) == (None, COUNT)
    found = {result.address: result for result in sweep}
    assert list(found) == list(sweep.tasks) or parallel > 1
    assert sorted(found) == list(sweep.tasks)
    assert sweep.left == 0
    wrong = {address[-3:]: one.problems for address, one in found.items() if not one.is_valid}
    assert sorted(wrong) == ["a/2", "a/3", "b/1"]
    assert "..summary is damaged" in wrong["a/2"][0]
    assert "..manifest is damaged" in wrong["a/3"][0]
    assert "foo" in wrong["b/1"][0]
    hashed = {address[-3:]: (one.files, one.bytes) for address, one in found.items()}
    assert hashed == {
        **dict.fromkeys(("a/2", "a/3", "b/2", "b/3"), (0, 0)),  # nothing but links, or unknown
        **dict.fromkeys(("a/1", "b/1"), (3, 19)),
    }
    assert (progress.done, progress.expected) == ([6, 6, 38], (6, 38))
    known = reader.admin.last_verified(published)
    assert known == {result.address: result for result in found.values()}


def test_the_one_that_was_verified_the_longest_ago_is_first(client, published):
    assert [client.admin.last_verified(published)[f"{published}/a/1"]] == [None]
    assert len(list(client.admin.validate_all(published, "b"))) == 3
    first = list(client.admin.last_verified(published))
    assert first == [f"{published}/{a}/{v}" for a in "ab" for v in "123"]
    now = dt.datetime.now().astimezone()
    assert client.admin.validate_all(published, since=now - dt.timedelta(hours=1)).tasks == tuple(
        first[:3]
    )
    assert client.admin.validate_all(published, since=now).tasks == tuple(first)
    assert len(list(client.admin.validate_all(published, "a"))) == 3
    assert list(client.admin.last_verified(published)) == first[3:] + first[:3]
    with pytest.raises(Refused):
        client.admin.validate_all(published, since=now, restart=True)


def test_it_is_resumed(client, published):
    for result in client.admin.validate_all(published):
        if result.address.endswith("a/3"):
            break
    # Of another part, what was done does not count.
    assert len(client.admin.validate_all(published, "a").tasks) == 3
    sweep = client.admin.validate_all(published)
    assert sweep.resumed is not None
    assert (sweep.done_before, sweep.tasks) == (3, tuple(f"{published}/b/{v}" for v in "123"))
    assert len(client.admin.validate_all(published, restart=True).tasks) == COUNT
    assert len(list(sweep)) == 3
    again = client.admin.validate_all(published)
    assert (again.resumed, len(again.tasks)) == (None, COUNT)


def test_nothing_is_lost_when_it_is_ended_early(client, service, published):
    results = iter(client.admin.validate_all(published, parallel=3))
    first = next(results)
    results.close()
    known = {address for address, last in client.admin.last_verified(published).items() if last}
    assert first.address in known
    with Ledger(service.url, service.registry) as ledger:
        assert ledger.holders() == set()
    assert len(client.admin.validate_all(published).tasks) == COUNT - len(known)


def test_restart_starts_over(client, published):
    next(iter(client.admin.validate_all(published)))
    begun = dt.datetime.now().astimezone()
    next(iter(client.admin.validate_all(published, restart=True)))
    sweep = client.admin.validate_all(published)
    assert sweep.resumed is not None
    assert sweep.resumed > begun
    assert sweep.done_before == 1


def test_budgets(client, published):
    for budget in (Budget(bytes=1), Budget(seconds=1e-9)):
        sweep = client.admin.validate_all(published, budget=budget, restart=True)
        found = list(sweep)
        assert sweep.is_used_up
        assert sweep.left == len(sweep.tasks) - len(found)
        assert len(found) == (1 if budget.bytes else 0)
    assert len(list(client.admin.validate_all(published, budget=Budget(3600, 1 << 40)))) == COUNT


def test_what_was_published_again_is_another_version(client, published, source):
    assert len(list(client.admin.validate_all(published))) == COUNT
    old = client.version(published, "b", "1").summary().upload_finish
    client.admin.delete_version(published, "b", "1")

    def publish() -> bool:
        """As a later second than the first time: the records have no finer times."""
        client.upload(published, "b", "1", source)
        if client.version(published, "b", "1").summary().upload_finish != old:
            return True
        client.admin.delete_version(published, "b", "1")
        return False

    wait_for("another second", publish)
    assert client.admin.last_verified(published)[f"{published}/b/1"] is None
    hour = dt.datetime.now().astimezone() - dt.timedelta(hours=1)
    assert client.admin.validate_all(published, since=hour).tasks == (f"{published}/b/1",)


def test_what_is_deleted_meanwhile_is_left_out(client, published):
    sweep = client.admin.validate_all(published)
    results = iter(sweep)
    first = next(results)
    client.admin.delete_asset(published, "b")
    assert [first.address, *(result.address for result in results)] == [
        f"{published}/a/{version}" for version in "123"
    ]
    assert sweep.left == 0
    assert list(client.admin.last_verified(published)) == [f"{published}/a/{v}" for v in "123"]


def test_names_that_can_be_none_are_reported(client, service, published):
    Path(service.registry, published, "a", "back\\slash").mkdir()
    os.mkdir(os.fsencode(f"{service.registry}/{published}/a/") + b"\xff")
    found = {result.address: result for result in client.admin.validate_all(published, "a")}
    assert len(found) == 5
    assert "UTF-8" in found[f"{published}/a/\\udcff"].problems[0]
    (problem,) = found[f"{published}/a/back\\slash"].problems
    assert "backslash" in problem


def test_who_may_not_gets_an_error_at_once(service, published):
    powerless = TestService(service.staging, service.registry, admin=[])
    try:
        client = Client(powerless.url, staging=service.staging)
        with pytest.raises(Forbidden):
            list(client.admin.validate_all(published))
        assert set(client.admin.last_verified(published).values()) == {None}
    finally:
        powerless.stop()
    with pytest.raises(Missing):
        Client(service.url, registry=service.registry).admin.validate_all("no-such-project")


def test_an_empty_mount_is_not_all_well(service, published, tmp_path):
    client = Client(service.url, staging=service.staging, registry=service.registry)
    assert len(list(client.admin.validate_all(published))) == COUNT
    (tmp_path / "mount" / published).mkdir(parents=True)
    unmounted = Client(service.url, staging=service.staging, registry=tmp_path / "mount")
    with pytest.raises(Fault, match="6 were validated before"):
        unmounted.admin.validate_all(published)


def test_large_versions_are_jobs(client, published, monkeypatch):
    monkeypatch.setattr(validate, "takes_long", lambda files, size: True)
    damage_one = Path(client.registry, published, "a", "1", "whee2")
    damage_one.write_text("another size")
    progress = Notes()
    found = list(client.admin.validate_all(published, parallel=2, progress=progress))
    assert len(found) == COUNT
    assert [r.address for r in found if not r.is_valid] == [f"{published}/a/1"]
    assert progress.done == [6, 6, 38]


def test_an_interrupted_job_is_cancelled(client, project, tmp_path, monkeypatch):
    monkeypatch.setattr(validate, "takes_long", lambda files, size: True)
    large = tmp_path / "large"
    large.mkdir()
    with (large / "zeros").open("wb") as file:
        file.truncate(128 << 20)
    client.upload(project, "a", "1", large)

    class Interrupted(Notes):
        def advance(self, files, size):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(client.admin.validate_all(project, progress=Interrupted()))
    (job,) = [job for job in client.jobs.list() if job.action == "validate_version"][-1:]
    assert wait_for("the job's end", lambda: client.jobs.get(job.job).state().is_final)
    assert client.admin.last_verified(project) == {f"{project}/a/1": None}
    client.admin.delete_project(project)
