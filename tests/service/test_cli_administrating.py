"""Deleting, repairing and checking from the command line, against the real service."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from gobbler.client.handle import names_of
from gobbler.client.testing import TestService

pytestmark = pytest.mark.usefixtures("nothing_left_in_staging")


@pytest.fixture
def published(client, project, source):
    """Versions 1 to 3 of the asset ``a``; 2 and 3 are links to 1."""
    for version in "123":
        client.upload(project, "a", version, source)
    return project


@pytest.fixture
def terminal(monkeypatch):
    """Sit before a terminal and type what is given."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    return lambda typed: monkeypatch.setattr(sys, "stdin", Terminal(typed))


def test_delete_reports_what_would_go(run, as_json, published):
    code, out, err = run("delete", f"{published}/a/1", "--dry-run")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].split() == ["would", "delete", f"{published}/a/1"]
    assert [line.split(maxsplit=1) for line in lines[1:3]] == [
        ["versions", "1"],
        ["stored", "3 files, 19 bytes"],
    ]
    assert f"{published}/a/3/foo -> {published}/a/1/foo" in out
    reported = as_json("delete", f"{published}/a/1", "--dry-run")
    assert reported["dry_run"] is True
    assert reported["versions"] == [f"{published}/a/1"]
    assert reported["stored"] == {"files": 3, "bytes": 19}
    assert len(reported["broken_links"]) == 6
    whole = as_json("delete", published, "--dry-run")
    assert len(whole["versions"]) == 3
    assert whole["linked"] == {"files": 6, "bytes": 38}
    assert whole["broken_links"] == whole["problems"] == []
    assert run("ls", f"{published}/a")[1].count("\n") == 3


def test_delete_breaks_links_only_by_force(run, client, published):
    code, out, err = run("delete", f"{published}/a/1", "--yes")
    assert (code, out) == (3, "")
    assert "6 links of other versions would break" in err
    assert f"hint: Redirect them: gobbler reroute {published}/a/1" in err
    assert names_of(client.asset(published, "a").versions()) == ["1", "2", "3"]
    code, out, _ = run("delete", f"{published}/a/1", "--yes", "--force")
    assert code == 0
    assert names_of(client.asset(published, "a").versions()) == ["2", "3"]


def test_reroute_then_delete(run, as_json, client, published):
    code, out, err = run("reroute", f"{published}/a/1", "--dry-run")
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == f"{published}/a/2/foo\tcopy\t{published}/a/1/foo\t3"
    assert [line.split("\t")[1] for line in out.splitlines()] == ["copy"] * 3 + ["link"] * 3
    planned = as_json("reroute", f"{published}/a/1", "--dry-run")
    done = as_json("reroute", f"{published}/a/1")
    assert (planned["dry_run"], done["dry_run"]) == (True, False)
    assert planned["changes"] == done["changes"]
    code, out, err = run("reroute", f"{published}/a/1")
    assert (code, out) == (0, "")
    assert "no other version has a link" in err
    assert run("delete", f"{published}/a/1", "--yes")[0] == 0
    assert names_of(client.asset(published, "a").versions()) == ["2", "3"]
    assert run("validate", f"{published}/a/@latest")[0] == 0
    # Several at once: nothing but 3 is left to have a copy.
    copies = as_json("reroute", f"{published}/a/2", f"{published}/a/@latest", "--dry-run")
    assert copies["changes"] == []


def test_delete_asks(run, client, published, terminal):
    terminal("n\n")
    code, out, err = run("delete", f"{published}/a/@latest")
    assert (code, out) == (130, "")
    assert f"{published}/a/3" in err
    assert "Delete this permanently?" in err
    assert "nothing was deleted" in err
    assert names_of(client.asset(published, "a").versions()) == ["1", "2", "3"]
    terminal("y\n")
    code, out, err = run("delete", f"{published}/a/@latest")
    assert code == 0
    assert out.split()[:2] == ["deleted", f"{published}/a/3"]
    assert names_of(client.asset(published, "a").versions()) == ["1", "2"]


def test_delete_of_more(run, as_json, client, published, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    code, out, err = run("delete", published)
    assert (code, out) == (2, "")
    assert "--yes" in err
    assert names_of(client.project(published).assets()) == ["a"]
    reported = as_json("delete", f"{published}/a", "-y")
    assert (reported["project"], reported["asset"], reported["dry_run"]) == (published, "a", False)
    assert names_of(client.project(published).assets()) == []
    assert run("delete", published, "--yes")[0] == 0
    assert not client.project(published).exists()


@pytest.mark.parametrize("address", ["no-such-project", "{p}/no", "{p}/a/no", "{p}/no/@latest"])
def test_delete_of_what_is_missing(run, published, address):
    code, out, err = run("delete", address.format(p=published), "--yes")
    assert (code, out) == (5, "")
    assert "no" in err


def test_delete_what_is_damaged(run, as_json, client, service, published):
    Path(service.registry, published, "a", "3", "..manifest").write_text("{")
    code, out, err = run("delete", f"{published}/a/3", "--yes")
    assert (code, out) == (3, "")
    assert "..manifest is damaged" in err
    assert "--force" in err
    reported = as_json("delete", f"{published}/a/3", "--yes", "--force")
    assert any("damaged" in problem for problem in reported["problems"])
    assert names_of(client.asset(published, "a").versions()) == ["1", "2"]


def test_only_administrators_may_delete(run, client, service, published):
    powerless = TestService(service.staging, service.registry, admin=[])
    try:
        code, out, err = run("delete", published, "--yes", "--force", "--url", powerless.url)
        assert (code, out) == (4, "")
        assert f'you may not delete "{published}"' in err
        assert run("validate", f"{published}/a/1", "--url", powerless.url)[0] == 4
    finally:
        powerless.stop()
    assert names_of(client.project(published).assets()) == ["a"]


def test_refresh(run, as_json, client, service, published):
    Path(service.registry, published, "a", "..latest").write_text("{")
    assert run("refresh", "latest", f"{published}/a") == (0, "3\n", "")
    assert as_json("refresh", "latest", f"{published}/a")["version"] == "3"
    Path(service.registry, published, "..usage").write_text("{")
    assert run("refresh", "usage", published) == (0, "19\n", "")
    assert as_json("refresh", "usage", published) == {"project": published, "usage": 19}
    for version in "321":
        client.admin.delete_version(published, "a", version)
    code, out, err = run("refresh", "latest", f"{published}/a")
    assert (code, out) == (0, "")
    assert "no final version" in err
    assert as_json("refresh", "latest", f"{published}/a")["version"] is None
    assert run("refresh", "latest", published)[0] == 3
    assert run("refresh", "usage", "no-such-project")[0] == 5


def test_validate_and_reindex(run, as_json, service, published):
    address = f"{published}/a/1"
    names = {"project": published, "asset": "a", "version": "1"}
    version = Path(service.registry, address)
    assert run("validate", address) == (0, f"valid {address}\n", "")
    assert as_json("validate", address) == {**names, "valid": True, "problems": []}
    (version / "foo").unlink()
    for i in range(20):
        (version / f"more-{i:02}").write_text("more")
    code, out, err = run("validate", address)
    assert code == 3
    assert len(out.splitlines()) == 21
    assert all(f"more-{i:02}" in out for i in range(20))
    assert err == f'error: "{address}" has 21 problems\n'
    code, out, err = run("validate", address, "--json")
    assert (code, err) == (3, "")
    assert out.count("extra file") == 20
    assert as_json("reindex", address) == {
        **names,
        "stored": {"files": 22, "bytes": 5 + 11 + 20 * 4},
        "linked": {"files": 0, "bytes": 0},
    }
    assert run("validate", address)[0] == 0
    code, out, _ = run("reindex", f"{published}/a/@latest")
    assert out.splitlines()[0] == f"reindexed  {published}/a/3"
    assert run("validate", f"{published}/a/9")[0] == 5
    assert run("reindex", f"{published}/a")[0] == 3
