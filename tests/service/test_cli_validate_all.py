"""``gobbler validate --all``."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import time
from pathlib import Path

import pytest

from gobbler.client import Client, RequestFailed
from gobbler.client.bulk import validate

from .bulk import COUNT, damage, published, state

__all__ = ["published", "state"]


def test_the_command(run, service, published):
    code, out, err = run("validate", "--all", published)
    assert (code, out) == (0, "")
    assert err.startswith("verified  6 versions in ")
    assert err.rstrip().endswith(": 6 files, 38 bytes")
    damage(service, f"{published}/b/1")
    Path(service.registry, published, "a", "3", "..manifest").write_text("[")
    code, out, err = run("validate", "--all", f"{published}/", "--parallel", "2")
    assert code == 3
    a, b = f"{published}/a/3", f"{published}/b/1"
    rows = [line.split("\t") for line in sorted(out.splitlines())]
    assert [(row[0], row[2], row[4]) for row in rows] == [
        (a, "1", f"gobbler reindex {a} && gobbler validate {a}"),
        (b, "1", f"gobbler validate {b}"),
    ]
    assert err.endswith("error: 2 versions have problems\n")
    code, out, _ = run("validate", "--all", f"{published}/b", "--json")
    assert code == 3
    reported = json.loads(out)
    assert [one["version"] for one in reported["wrong"]] == ["1"]
    assert "foo" in reported["wrong"][0]["problems"][0]


def test_what_is_wrong_is_reported_until_it_is_well(run, as_json, client, service, published):
    damage(service, f"{published}/b/1")
    assert run("validate", "--all", published)[0] == 3
    code, out, err = run("validate", "--all", published, "--since", "1h")
    assert (code, [line.split("\t")[0] for line in out.splitlines()]) == (3, [f"{published}/b/1"])
    assert "verified  0 versions" in err
    assert "not due   6" in err
    client.admin.reindex_version(published, "b", "1")
    assert run("validate", f"{published}/b/1")[0] == 0
    assert run("validate", "--all", published, "--since", "1h")[:2] == (0, "")
    # What a version alone is found to be counts, too.
    damage(service, f"{published}/a/1")
    assert run("validate", f"{published}/a/1")[0] == 3
    (wrong,) = client.admin.validate_all(
        published, since=dt.datetime.now().astimezone() - dt.timedelta(hours=1)
    ).known_wrong
    assert (wrong.address, wrong.files, wrong.bytes) == (f"{published}/a/1", 3, 19)
    assert list(client.admin.last_verified(published))[-1] == f"{published}/a/1"


@pytest.fixture
def known(run, service, published):
    """The project, of which ``b/1`` is known to be wrong."""
    damage(service, f"{published}/b/1")
    assert run("validate", f"{published}/b/1")[0] == 3
    return published


@pytest.mark.parametrize(
    "options",
    [
        ["--budget", "0"],
        ["--budget", "1KB", "--budget", "0m"],
        ["--restart", "--budget", "0"],
        ["--since", "0d", "--budget", "0"],
        ["--status"],
    ],
    ids=" ".join,
)
def test_what_is_known_wrong_is_told_though_it_is_not_its_turn(run, known, options):
    code, out, _ = run("validate", "--all", known, *options)
    assert code == 3
    assert any(f"{known}/b/1" in line and "problem" in line for line in out.splitlines()) or (
        "foo" in out
    )
    code, out, _ = run("validate", "--all", known, *options, "--json")
    assert code == 3
    found = json.loads(out)
    assert ["foo" in one["problems"][0] for one in found.get("wrong", ())] == (
        [] if "--status" in options else [True]
    )
    code, out, _ = run("validate", "--all", f"{known}/a", *options)
    assert code == 0


def test_it_is_known_until_it_is_valid_or_gone(run, client, service, known):
    nothing = ("validate", "--all", known, "--budget", "0")
    client.admin.reindex_version(known, "b", "1")
    assert run(*nothing)[0] == 3  # repaired perhaps; nobody has looked
    assert run("validate", f"{known}/b/1")[0] == 0
    assert run(*nothing)[:2] == (0, "")
    damage(service, f"{known}/a/1")
    assert run("validate", "--all", known)[0] == 3
    summary = Path(service.registry, known, "a", "1", "..summary")
    before = summary.read_bytes()
    summary.write_text("{")  # so it can't be told whether it is the same version
    assert run(*nothing)[0] == 3
    summary.write_bytes(before)
    for asset in "ab":  # the versions of b are links to what has changed
        client.admin.delete_asset(known, asset)
    code, out, err = run(*nothing)
    assert (code, out, "--restart forgets" in err) == (1, "", True)
    assert run(*nothing, "--restart")[:2] == (0, "")


@pytest.mark.parametrize("options", [[], ["--json"]], ids=["table", "json"])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), RequestFailed("it broke")], ids=repr)
def test_it_is_told_when_the_run_ends_early(run, known, monkeypatch, options, error):
    def request(*args: object, **kwargs: object) -> None:
        raise error

    monkeypatch.setattr(validate.BulkRequester, "request", request)
    monkeypatch.setattr(validate, "problems_in", request)
    code, out, _ = run("validate", "--all", known, *options)
    assert code != 0
    assert f"{known}/b/1" in out or "foo" in out


def test_what_another_process_finds_is_told(client, service, published):
    damage(service, f"{published}/b/1")
    run = client.admin.validate_all(published)
    assert len(list(client.admin.validate_all(published))) == COUNT
    assert list(run) == []
    assert [one.address for one in run.known_wrong] == [f"{published}/b/1"]


def test_a_registry_whose_versions_were_deleted(run, client, published):
    assert run("validate", "--all", f"{published}/b")[0] == 0
    for version in "321":
        client.admin.delete_version(published, "b", version)
    code, _, err = run("validate", "--all", f"{published}/b")
    assert (code, "--restart forgets" in err) == (1, True)
    assert run("validate", "--all", f"{published}/b", "--restart")[0] == 0
    assert run("validate", "--all", f"{published}/b")[0] == 0


def test_where_nothing_can_be_kept(run, published, state, monkeypatch):
    shutil.rmtree(state)  # uploads have made it
    state.write_text("a file")
    monkeypatch.setattr("gobbler.client.bulk.ledger.temporary_directory", lambda: str(state))
    code, out, err = run("validate", f"{published}/a/1")
    assert (code, out) == (0, f"valid {published}/a/1\n")
    assert err.startswith("warning: results can't be recorded in")
    code, out, err = run("validate", "--all", published)
    assert (code, out) == (1, "")
    assert "XDG_STATE_HOME" in err


def test_a_budget_on_the_command_line(run, as_json, client, project, tmp_path):
    files = tmp_path / "files"
    files.mkdir()
    for version in "123":
        (files / "data").write_bytes(version.encode() * 2000)
        client.upload(project, "a", version, files)
    reported = as_json("validate", "--all", project, "--budget", "3KB")
    assert (reported["verified"], reported["remaining"], reported["budget_used_up"]) == (2, 1, True)
    assert (reported["files"], reported["bytes"]) == (2, 4000)
    code, _, err = run("validate", "--all", project, "--budget", "3KB")
    assert code == 0
    assert "continuing the run of" in err
    assert "2 done, 1 to go" in err
    assert "remaining" not in err
    code, _, err = run("validate", "--all", project, "--budget", "3KB")
    assert "remaining  1: the budget is used up; the same command continues" in err


def test_status(run, service, published):
    rows = [
        line.split("\t") for line in run("validate", "--all", published, "--status")[1].splitlines()
    ]
    assert [row[:2] for row in rows] == [
        [f"{published}/{a}/{v}", "never"] for a in "ab" for v in "123"
    ]
    damage(service, f"{published}/a/1")
    run("validate", "--all", f"{published}/a")
    code, out, _ = run("validate", "--all", published, "--status", "--json")
    assert code == 3
    reported = json.loads(out)["versions"]
    assert [one["asset"] for one in reported] == ["b"] * 3 + ["a"] * 3
    assert reported[0] == {"project": published, "asset": "b", "version": "1", "verified": None}
    assert dt.datetime.fromisoformat(reported[3]["verified"]).tzinfo is not None
    assert "foo" in reported[3]["problems"][0]
    _, out, _ = run("validate", "--all", f"{published}/a", "--status")
    assert [line.split("\t")[2] for line in out.splitlines()] == ["1 problem", "valid", "valid"]


@pytest.mark.parametrize(
    ("words", "code", "reported"),
    [
        ([], 2, "--all"),
        (["weather", "--since", "1d"], 2, "--since needs --all"),
        (["weather", "--budget", "1h"], 2, "--budget needs --all"),
        (["weather/a/1", "--parallel", "2"], 2, "--parallel needs --all"),
        (["weather/a/1", "--status"], 2, "--status needs --all"),
        (["weather"], 3, "gobbler validate --all weather"),
        (["weather/a"], 3, "gobbler validate --all weather/a"),
        (["--all", "weather/a/1"], 3, "not the address"),
        (["--all", "--budget", "5"], 2, "not a budget"),
        (["--all", "--restart", "--since", "1d"], 2, "--restart and --since exclude"),
        (["--all", "--since", "soon"], 2, "neither an age nor a date"),
    ],
)
def test_what_is_meant_is_to_be_said(run, words, code, reported):
    ended = run("validate", *words)
    assert (ended[0], ended[1]) == (code, "")
    assert reported in ended[2]


def test_through_the_spool_alone(service, published):
    client = Client(staging=service.staging, registry=service.registry)
    assert client.url is None
    damage(service, f"{published}/a/1")
    found = list(client.admin.validate_all(published, parallel=2))
    assert [result.address for result in found if not result.is_valid] == [f"{published}/a/1"]
    assert len(found) == COUNT
    with pytest.raises(RequestFailed):
        client.admin.validate_version(published, "a", "1")
    assert time.time() - found[0].finished.timestamp() < 600


def test_interrupted(run, service, published, monkeypatch):
    """The command reports its findings, and that it can be resumed."""
    damage(service, f"{published}/a/1")
    ask = validate.BulkRequester.request

    def request(self, *words, **fields):
        if fields["version"] == "3":
            raise KeyboardInterrupt
        return ask(self, *words, **fields)

    monkeypatch.setattr(validate.BulkRequester, "request", request)
    code, out, err = run("validate", "--all", published)
    assert code == 130
    assert [line.split("\t")[0] for line in out.splitlines()] == [f"{published}/a/1"]
    assert "remaining  4" in err
    assert "The same command continues with the rest" in err
