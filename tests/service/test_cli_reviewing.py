"""Permissions, probation, and what commands show of them, against the real service."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gobbler.client.handle import names_of

pytestmark = pytest.mark.usefixtures("nothing_left_in_staging")

BIN = '{"id": "bin", "asset": "a", "until": "2999-01-01T00:00:00Z", "trusted": true}'


@pytest.fixture
def published(client, project, source):
    """Versions 1 and 2 of the asset ``a``, 2 made of links, and 3 and 4 on probation."""
    client.upload(project, "a", "1", source)
    client.upload(project, "a", "2", source)
    client.upload(project, "a", "3", source, probation=True)
    client.upload(project, "a", "4", source, probation=True)
    return project


def test_permissions(run, client, project):
    (me,) = client.project(project).permissions().owners
    assert run("permissions", "get", project) == (0, f"owner\t{me}\t\t\t\t\n", "")
    code, out, err = run(
        "permissions", "add", project, "--owner", "daemon", "--uploader", BIN, "--uploader", "bin"
    )
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        f"owner\t{me}\t\t\t\t",
        "owner\tdaemon\t\t\t\t",
        "uploader\tbin\ta\t\t2999-01-01T00:00:00Z\ttrusted",
        "uploader\tbin\t\t\t\t",
    ]
    assert out == run("permissions", "get", project)[1]
    code, out, _ = run("permissions", "set", project, "--uploader", "nobody", "--global-write")
    assert out.splitlines()[2:] == ["uploader\tnobody\t\t\t\t", "global write\tyes\t\t\t\t"]
    code, out, _ = run("permissions", "set", project, "--no-global-write", "--owner", me)
    assert out.splitlines() == [
        f"owner\t{me}\t\t\t\t",
        "uploader\tnobody\t\t\t\t",
        "global write\tno\t\t\t\t",
    ]


def test_taking_permissions_away(run, client, project):
    entries = [{"id": "alan"}, {"id": "alan", "asset": "a"}, {"id": "alan", "asset": "b"}]
    client.project(project).set_permissions(owners=["ada"], uploaders=[*entries, {"id": "bob"}])

    def left() -> list[object]:
        return [
            (entry.id, entry.asset) for entry in client.project(project).permissions().uploaders
        ]

    before = left()
    assert run("permissions", "remove", project, "--uploader", "alan", "--dry-run")[0] == 0
    assert left() == before
    run("permissions", "remove", project, "--uploader", '{"id": "alan", "asset": "a"}')
    assert left() == [before[0], before[2], before[3]]
    run("permissions", "remove", project, "--uploader", "alan", "--owner", "ada")
    assert left() == [before[3]]
    assert "ada" not in client.project(project).permissions().owners
    for what in ("--owner", "--uploader"):
        code, out, err = run("permissions", "remove", project, what, "alan")
        assert (code, out) == (5, "")
        assert f'"{project}" has no such {what[2:]}: "alan"' in err


def test_permissions_as_json(as_json, client, project):
    (me,) = client.project(project).permissions().owners
    changed = ("--owner", "daemon", "--uploader", "nobody")
    would = as_json("permissions", "add", project, *changed, "--dry-run")
    assert would == {"project": project, "owners": [me, "daemon"], "uploaders": [{"id": "nobody"}]}
    assert as_json("permissions", "get", project)["owners"] == [me]
    assert as_json("permissions", "add", project, *changed) == would
    assert as_json("permissions", "set", f"{project}/a", "--owner", "daemon") == {
        "project": project,
        "asset": "a",
        "owners": ["daemon"],
        "uploaders": [],
    }
    assert as_json("permissions", "get", f"{project}/b")["owners"] == []


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("set", "{p}"), 2, "Name an owner, an uploader or another right"),
        (("add", "{p}", "--uploader", "{oops"), 2, "--uploader"),
        (("add", "{p}", "--uploader", '{"id": "x", "until": "soon"}'), 3, "until"),
        (("get", "{p}/a/1"), 3, "not the address of a project or asset"),
        (("get", "no-such-project"), 5, "no-such-project"),
        (("add", "no-such-project", "--owner", "x"), 5, "no-such-project"),
        (("set", "no-such-project", "--owner", "x"), 5, "no-such-project"),
        (("set", "{p}", "--owner", "x", "--spoof", "somebody"), 4, "somebody"),
    ],
)
def test_permissions_refused(run, client, project, words, code, said):
    before = client.project(project).permissions()
    got, out, err = run("permissions", *(word.replace("{p}", project) for word in words))
    assert (got, out) == (code, "")
    assert said in err
    assert client.project(project).permissions() == before


@pytest.mark.parametrize("remote", [(), ("--remote",)])
def test_probation_list(run, as_json, published, remote):
    code, out, err = run("probation", "list", published, *remote)
    assert (code, err) == (0, "")
    assert [line.split("\t")[0] for line in out.splitlines()] == [
        f"{published}/a/3",
        f"{published}/a/4",
    ]
    assert run("probation", "list", f"{published}/a", *remote)[1] == out
    assert out in run("probation", "list", *remote)[1]
    listed = as_json("probation", "list", published, *remote)["versions"]
    assert [(each["asset"], each["version"]) for each in listed] == [("a", "3"), ("a", "4")]
    assert run("probation", "list", f"{published}/a/3")[0] == 3
    assert run("probation", "list", "no-such-project", *remote)[0] == 5


def test_probation(run, as_json, client, published):
    code, out, err = run("probation", "approve", f"{published}/a/3")
    assert (code, out.splitlines()[0], err) == (0, f"approved {published}/a/3", "")
    assert client.asset(published, "a").latest().name == "3"
    rejected = {"project": published, "asset": "a", "version": "4"}
    assert as_json("probation", "reject", f"{published}/a/4") == rejected
    assert names_of(client.asset(published, "a").versions()) == ["1", "2", "3"]
    assert run("probation", "list", published) == (0, "", "")
    for words in (("approve", "3"), ("reject", "@latest")):
        code, out, err = run("probation", words[0], f"{published}/a/{words[1]}")
        assert (code, out) == (3, "")
        assert "not on probation" in err
    assert run("probation", "approve", f"{published}/a/9")[0] == 5


def test_a_damaged_version_on_probation(run, service, client, published):
    Path(service.registry, published, "a", "4", "..summary").write_text("{")
    lines = run("probation", "list", published)[1].splitlines()
    assert len(lines) == 2
    assert "damaged" in lines[1]
    assert run("probation", "reject", f"{published}/a/4")[0] == 1
    assert run("probation", "reject", f"{published}/a/4", "--force")[0] == 0
    assert names_of(client.asset(published, "a").versions()) == ["1", "2", "3"]


@pytest.mark.parametrize("remote", [(), ("--remote",)])
def test_show(as_json, client, published, remote):
    client.asset(published, "a").set_permissions(owners=["ada"])
    permissions = {"owners": list(client.project(published).permissions().owners), "uploaders": []}
    assert as_json("show", published, *remote) == {
        "project": published,
        "assets": 1,
        "usage": 19,
        "permissions": permissions,
    }
    own = {"owners": ["ada"], "uploaders": []}
    assert as_json("show", f"{published}/a", *remote) == {
        "project": published,
        "asset": "a",
        "versions": 4,
        "on_probation": 2,
        "latest": "2",
        "permissions": permissions,
        "asset_permissions": own,
    }
    shown = as_json("show", f"{published}/a/@latest", *remote)
    assert shown["version"] == "2"
    assert (shown["latest"], shown["on_probation"]) == (True, False)
    assert shown["stored"] == {"files": 0, "bytes": 0}
    assert shown["linked"] == {"files": 3, "bytes": 19}
    assert shown["upload_user_id"] in permissions["owners"]
    assert shown["asset_permissions"] == own


def test_show_on_terminal(run, client, published):
    client.project(published).set_permissions(uploaders=[{"id": "alan", "trusted": True}])
    code, out, err = run("show", f"{published}/a/3")
    assert (code, err) == (0, "")
    facts = dict(line.split("  ", 1) for line in out.splitlines())
    assert {what: facts[what].strip() for what in ("on probation", "linked", "uploader")} == {
        "on probation": "yes",
        "linked": "3 files, 19 bytes",
        "uploader": "alan, trusted",
    }
    assert run("show", f"{published}/a/9")[0] == 5
    assert run("show", f"{published}/a/1/foo")[0] == 3


def test_usage(run, as_json, published, service):
    assert run("usage", published) == (0, "19\n", "")
    assert as_json("usage", published) == {"project": published, "usage": 19}
    assert f"19\t{published}\t" in run("usage")[1].splitlines()
    usage = Path(service.registry, published, "..usage")
    usage.write_text("{")
    (line,) = (line for line in run("usage")[1].splitlines() if published in line)
    assert "damaged" in line
    assert {"project": published, "usage": 19} not in as_json("usage")["projects"]
    assert run("usage", published)[0] == 1
    assert run("usage", f"{published}/a")[0] == 3


@pytest.mark.parametrize("remote", [(), ("--remote",)])
def test_cat(service, client, published, capfdbinary, remote):
    data = bytes(range(256)) * 5000
    file = Path(service.registry, published, "a", "1", "foo")
    file.write_bytes(data)
    for version in ("1", "2"):
        client.admin.reindex_version(published, "a", version)
    for address, content in (("a/@latest/foo", data), ("a/1/whee/blah", b"stuff")):
        assert cat(service, f"{published}/{address}", *remote) == 0
        out, err = capfdbinary.readouterr()
        assert (out, err) == (content, b"")
    assert cat(service, f"{published}/a/1/..manifest", *remote) == 0
    assert b'"whee/blah"' in capfdbinary.readouterr().out


def cat(service, *words: str) -> int:
    command = [sys.executable, "-m", "gobbler", "cat", *words, "--url", service.url]
    return subprocess.run(command, timeout=60).returncode


@pytest.mark.parametrize(
    ("address", "code"),
    [
        ("a/1", 3),
        ("a/1/whee", 3),
        ("a/1/chihaya/kisaragi", 3),
        ("a/1/no", 5),
        ("a", 3),
        ("b/1/x", 5),
    ],
)
def test_cat_of_no_file(run, published, address, code):
    got, out, err = run("cat", f"{published}/{address}")
    assert (got, out) == (code, "")
    assert err.startswith("error: ")


@pytest.mark.parametrize("content", [b"", b"BA", b"BARS"])
@pytest.mark.parametrize("remote", [(), ("--remote",)])
def test_cat_of_a_damaged_file(service, run, published, content, remote):
    Path(service.registry, published, "a", "1", "foo").write_bytes(content)
    code, out, err = run("cat", f"{published}/a/1/foo", *remote)
    assert (code, out) == (1, "")
    assert f"{len(content)} bytes instead of 3" in err


def test_clone(run, as_json, service, published, tmp_path):
    target = tmp_path / "next"
    assert run("clone", f"{published}/a/@latest", target) == (0, f"{target}\n", "")
    assert os.readlink(target / "foo") == f"{service.registry}/{published}/a/2/foo"
    assert (target / "chihaya" / "kisaragi").is_dir()
    assert run("clone", f"{published}/a/1", target)[0] == 3
    (tmp_path / "empty").mkdir()
    assert as_json("clone", f"{published}/a/1", tmp_path / "empty") == {
        "address": f"{published}/a/1",
        "path": str(tmp_path / "empty"),
    }
    assert run("clone", f"{published}/a/1", tmp_path / "no", "--remote")[0] == 3
    assert run("clone", f"{published}/a/9", tmp_path / "no")[0] == 5
    assert not (tmp_path / "no").exists()
    (target / "foo").unlink()
    (target / "foo").write_text("new")
    uploaded = as_json("upload", target, f"{published}/a/5")
    assert uploaded["stored"] == {"files": 1, "bytes": 3}


@pytest.mark.parametrize("look", [("probation", "list"), ("show",)], ids=lambda words: words[-1])
def test_what_took_the_place_of_what_was_shown_is_not_approved(
    run, client, project, source, tmp_path, look
):
    client.upload(project, "a", "1", source, probation=True)
    at = f"{project}/a/1"
    assert run(*look, project if look[-1] == "list" else at)[0] == 0
    client.version(at).reject()
    evil = tmp_path / "evil"
    evil.mkdir()
    (evil / "x").write_text("nobody saw this")
    client.upload(project, "a", "1", evil, probation=True)
    code, _, err = run("probation", "approve", at)
    assert code != 0
    assert "not the one that was reviewed" in err
    assert client.version(at).summary().on_probation
    assert run("show", at)[0] == 0
    assert run("probation", "approve", at)[0] == 0
    assert not client.version(at).summary().on_probation
