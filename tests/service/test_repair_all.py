"""Refreshing and reindexing all, against the real service."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from gobbler.client import Client
from gobbler.client.bulk import repair
from gobbler.client.testing import TestService
from gobbler.errors import Forbidden

pytestmark = pytest.mark.usefixtures("nothing_left_in_staging")


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def published(client, project, source):
    """Versions 1 and 2 of the assets ``a`` and ``b``."""
    for asset in "ab":
        for version in "12":
            client.upload(project, asset, version, source)
    yield project
    # Nobody else's listing of the registry should meet what was damaged.
    client.admin.delete_project(project)


@pytest.fixture
def terminal(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    return lambda typed: monkeypatch.setattr(sys, "stdin", Terminal(typed))


@pytest.fixture
def registry(service, published) -> Path:
    """What is published, on disk."""
    return Path(service.registry, published)


def test_refresh_all(run, as_json, registry, published):
    (registry / "..usage").write_text("{")
    (registry / "a" / "..latest").write_text("{")
    assert as_json("refresh", "--all", published) | {"seconds": 0} == {
        "resumed": None,
        "done_before": 0,
        "refreshed": [
            {"project": published, "usage": 38},
            {"project": published, "asset": "a", "latest": "2"},
            {"project": published, "asset": "b", "latest": "2"},
        ],
        "failed": [],
        "remaining": 0,
        "skipped": [],
        "seconds": 0,
    }
    assert json.loads((registry / "..usage").read_text()) == {"total": 38}
    code, out, err = run("refresh", f"{published}/b", "--all", "--parallel", "3")
    assert (code, out) == (0, "")
    assert err.startswith("refreshed  1 record in ")
    assert run("refresh", "usage", published)[0] == 0
    assert run("refresh", "--all", "no-such-project")[0] == 5
    assert run("refresh", "--all", f"{published}/a/1")[0] == 3
    assert run("refresh", "latest", f"{published}/a", "--all")[0] == 2


def test_what_fails_does_not_keep_the_rest(run, registry, published):
    (registry / "b" / "1" / "..manifest").write_text("[")
    code, out, err = run("refresh", "--all", published)
    assert code == 1
    (row,) = [line.split("\t") for line in out.splitlines()]
    assert (row[0], row[2]) == (published, f"gobbler refresh usage {published}")
    assert "..manifest is damaged" in row[1]
    assert "refreshed  2 records" in err
    assert "error: 1 of 3 records failed" in err
    # All tasks were tried, so the next run starts over.
    code, out, _ = run("refresh", "--all", published, "--json")
    reported = json.loads(out)
    assert (code, len(reported["refreshed"]), reported["resumed"]) == (1, 2, None)
    (failed,) = reported["failed"]
    assert (failed["action"], failed["project"]) == ("refresh_usage", published)


def test_it_is_resumed(run, as_json, client, published):
    results = iter(client.admin.refresh_all(published))
    assert next(results).found == 38
    assert next(results).address == f"{published}/a"
    results.close()
    sweep = client.admin.refresh_all(published)
    assert (sweep.done_before, sweep.left) == (2, 1)
    assert len(client.admin.refresh_all(published, restart=True).tasks) == 3
    assert client.admin.refresh_all(published, "a").resumed is None
    reported = as_json("refresh", "--all", published)
    assert (len(reported["refreshed"]), reported["done_before"]) == (1, 2)
    assert reported["resumed"] is not None
    assert client.admin.refresh_all(published).resumed is None


def test_reindex_all(run, as_json, client, registry, published):
    (registry / "a" / "1" / "..manifest").write_text("[")
    (registry / "b" / "2" / "more").write_text("more")
    planned = as_json("reindex", "--all", published, "--dry-run")
    versions = [f"{published}/{a}/{v}" for a in "ab" for v in "12"]
    assert planned == {"dry_run": True, "done_before": 0, "versions": versions}
    code, out, _ = run("reindex", "--all", f"{published}/b", "--dry-run")
    assert (code, out.splitlines()) == (0, [f"would reindex {v}" for v in versions[2:]])
    assert (registry / "a" / "1" / "..manifest").read_text() == "["
    reported = as_json("reindex", "--all", published, "--yes", "--parallel", "2")
    found = [f"{v['project']}/{v['asset']}/{v['version']}" for v in reported["reindexed"]]
    assert (sorted(found), reported["failed"]) == (versions, [])
    assert "more" in client.version(published, "b", "2").manifest()
    # The first can be reindexed only after the second, to which it is linked.
    (registry / "b" / "2" / "..manifest").write_text("[")
    (registry / "b" / "1" / "more").symlink_to("../2/more")
    order = [result.version for result in client.admin.reindex_all(published, "b")]
    assert order == ["2", "1"]
    link = client.version(published, "b", "1").manifest()["more"].link
    assert link is not None
    assert link.version == "2"
    assert all(result.is_valid for result in client.admin.validate_all(published))


def test_reindexing_is_asked_for(run, client, registry, published, terminal, monkeypatch):
    (registry / "a" / "1" / "foo").write_text("damaged")
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    code, out, err = run("reindex", "--all", published)
    assert (code, out) == (2, "")
    assert "--yes" in err
    terminal("n\n")
    code, out, err = run("reindex", "--all", published)
    assert (code, out) == (130, "")
    assert "the present files of 4 versions" in err
    assert "nothing was reindexed" in err
    assert client.version(published, "a", "1").manifest()["foo"].size == 3
    terminal("y\n")
    code, out, err = run("reindex", "--all", published)
    assert (code, out) == (0, "")
    assert "reindexed  4 versions" in err
    assert client.version(published, "a", "1").manifest()["foo"].size == 7


def test_versions_that_can_not_be_reindexed(run, client, registry, published, monkeypatch):
    (registry / "a" / "2" / "..summary").unlink()
    (registry / "b" / "1" / "odd").symlink_to("/etc/passwd")
    # What is huge, or whose size is not known, is a job.
    monkeypatch.setattr(repair, "takes_long", lambda files, size: size == 19)
    code, out, err = run("reindex", "--all", published, "-y")
    assert code == 1
    rows = [line.split("\t") for line in out.splitlines()]
    assert [(row[0], row[2]) for row in rows] == [
        (f"{published}/{v}", f"gobbler reindex {published}/{v}") for v in ("a/2", "b/1")
    ]
    assert "..summary" in rows[0][1]
    assert "odd" in rows[1][1]
    assert "reindexed  2 versions" in err


def test_a_version_at_a_time_is_resumed(run, client, published):
    results = iter(client.admin.reindex_all(published))
    next(results)
    results.close()
    code, out, err = run("reindex", "--all", published, "--dry-run")
    assert (code, len(out.splitlines())) == (0, 3)
    assert "1 done, 3 to go (--restart starts over)" in err
    assert len(run("reindex", "--all", published, "--dry-run", "--restart")[1].splitlines()) == 4
    assert len(list(client.admin.reindex_all(published))) == 3
    assert client.admin.reindex_all(published).done_before == 0


@pytest.mark.parametrize(
    ("words", "code", "reported"),
    [
        ([], 2, "--all"),
        (["weather"], 3, "gobbler reindex --all weather"),
        (["weather/a/1", "--yes"], 2, "--yes needs --all"),
        (["weather/a/1", "--dry-run"], 2, "--dry-run needs --all"),
        (["--all", "weather/a/1", "-y"], 3, "not the address"),
    ],
)
def test_what_is_meant_is_to_be_said(run, words, code, reported):
    ended = run("reindex", *words)
    assert (ended[0], ended[1]) == (code, "")
    assert reported in ended[2]


def test_who_may_not_gets_an_error_at_once(service, published):
    powerless = TestService(service.staging, service.registry, admin=[])
    try:
        client = Client(powerless.url, staging=service.staging)
        for sweep in (client.admin.refresh_all(published), client.admin.reindex_all(published)):
            with pytest.raises(Forbidden):
                list(sweep)
            assert sweep.left == len(sweep.tasks)
    finally:
        powerless.stop()
