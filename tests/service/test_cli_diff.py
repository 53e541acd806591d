"""``gobbler diff`` and ``gobbler tree`` against the real service."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from gobbler.cli import main, terminal


@pytest.fixture
def published(client, project, source):
    client.upload(project, "a", "1", source)
    (source / "foo").write_text("changed")
    (source / "new\u202e").write_text("x")
    (source / "whee2").unlink()
    (source / "empty").mkdir()
    client.upload(project, "a", "2", source)
    client.upload(project, "a", "3-beta", source, probation=True)
    return project


@pytest.fixture
def on_terminal(monkeypatch):
    monkeypatch.setattr(terminal, "is_terminal", lambda: True)


@pytest.mark.parametrize("remote", [(), ("--remote",)])
def test_diff(run, source, client, project, remote):
    client.upload(project, "a", "1", source)
    (source / "foo").write_text("changed")
    (source / "new").write_text("x")
    (source / "whee2").unlink()
    (source / "empty").mkdir()
    client.upload(project, "a", "2", source)
    one, two = f"{project}/a/1", f"{project}/a/@latest"
    reported = "A\tempty/\t\t\nM\tfoo\t3\t7\nA\tnew\t\t1\nD\twhee2\t11\t\n"
    assert run("diff", one, two, *remote) == (0, reported, "")
    assert run("diff", one, two, "--exit-code", *remote) == (1, reported, "")
    assert run("diff", one, one, "--exit-code", *remote) == (0, "", "")
    letters = "A\tempty/\nM\tfoo\nA\tnew\nD\twhee2\n"
    assert run("diff", one, two, "--name-status", *remote) == (0, letters, "")
    back = "D\tempty/\nM\tfoo\nD\tnew\nA\twhee2\n"
    assert run("diff", two, one, "--name-status", *remote)[1] == back


def test_diff_on_terminal(run, published, on_terminal):
    code, out, _ = run("diff", f"{published}/a/1", f"{published}/a/2")
    assert code == 0
    assert out.splitlines()[-1] == "2 added, 1 deleted, 1 modified, 2 the same"
    assert '"new\\u202e"' in out
    _, out, _ = run("diff", f"{published}/a/2", f"{published}/a/2")
    assert out == "0 added, 0 deleted, 0 modified, 5 the same\n"


def test_diff_as_json(run, published, as_json, client):
    one, two = f"{published}/a/1", f"{published}/a/2"
    found = as_json("diff", one, two)
    before, after = (
        client.version(published, "a", "1").manifest(),
        client.version(published, "a", "2").manifest(),
    )
    assert (found["before"], found["after"]) == (one, two)
    assert [added["path"] for added in found["added"]] == ["empty", "new\u202e"]
    assert found["removed"] == [{"path": "whee2", "size": 11, "md5sum": before["whee2"].md5sum}]
    assert found["changed"] == [
        {
            "path": "foo",
            "before": {"size": 3, "md5sum": before["foo"].md5sum},
            "after": {"size": 7, "md5sum": after["foo"].md5sum},
        }
    ]
    assert found["same"] == ["chihaya/kisaragi", "whee/blah"]
    code, out, _ = run("diff", one, two, "--json", "--exit-code")
    assert (code, json.loads(out)) == (1, found)


@pytest.mark.parametrize(
    ("after", "code", "said"),
    [
        ("{p}/a/no", 5, "no"),
        ("{p}/a", 3, "not the address of a version"),
        ("{p}/b/@latest", 5, "b"),
    ],
)
def test_diff_of_what_is_no_version(run, published, after, code, said):
    got, out, err = run("diff", f"{published}/a/1", after.format(p=published))
    assert (got, out) == (code, "")
    assert said in err
    assert "Traceback" not in err


@pytest.mark.parametrize("remote", [(), ("--remote",)])
def test_tree_of_a_version(run, published, remote):
    assert run("tree", f"{published}/a/2", *remote) == (
        0,
        f"{published}/a/2  3 files, 13 bytes\n"
        "├── chihaya/  0 files, 0 bytes\n"
        "│   └── kisaragi/  0 files, 0 bytes\n"
        "├── empty/  0 files, 0 bytes\n"
        "├── foo  7 bytes\n"
        '├── "new\\u202e"  1 bytes\n'
        "└── whee/  1 file, 5 bytes\n"
        f"    └── blah  5 bytes -> {published}/a/1/whee/blah\n",
        "",
    )
    assert run("tree", f"{published}/a/@latest/whee/", *remote)[1] == (
        f"{published}/a/2/whee  1 file, 5 bytes\n└── blah  5 bytes -> {published}/a/1/whee/blah\n"
    )
    shallow = run("tree", f"{published}/a/1", "-L", "1", *remote)[1]
    assert shallow.splitlines()[1:] == [
        "├── chihaya/  0 files, 0 bytes",
        "├── foo  3 bytes",
        "├── whee/  1 file, 5 bytes",
        "└── whee2  11 bytes",
    ]


def test_tree_of_a_project_and_an_asset(run, published, client, source):
    client.upload(published, "b", "1", source)
    versions = (
        "{}├── 1  3 files, 19 bytes\n"
        "{}├── 2  3 files, 13 bytes, 1 of them linked, latest\n"
        "{}└── 3-beta  3 files, 13 bytes, 3 of them linked, on probation\n"
    )
    assert run("tree", published) == (
        0,
        f"{published}\n├── a\n"
        + versions.replace("{}", "│   ")
        + "└── b\n    └── 1  3 files, 13 bytes, latest\n",
        "",
    )
    assert run("tree", f"{published}/a")[1] == f"{published}/a\n" + versions.replace("{}", "")
    assert run("tree", published, "--level", "1")[1] == f"{published}\n├── a\n└── b\n"


def test_tree_on_terminal_has_sizes_they_can_read(run, project, client, source, on_terminal):
    (source / "large").write_bytes(bytes(2_000_000))
    client.upload(project, "a", "1", source)
    out = run("tree", f"{project}/a/1")[1]
    assert "├── large  2.0 MB\n" in out


def test_tree_as_json(as_json, published):
    found = as_json("tree", f"{published}/a/2")
    assert (found["project"], found["asset"], found["version"]) == (published, "a", "2")
    assert found["directories"] == [
        {"path": "chihaya", "files": 0, "bytes": 0},
        {"path": "chihaya/kisaragi", "files": 0, "bytes": 0},
        {"path": "empty", "files": 0, "bytes": 0},
        {"path": "whee", "files": 1, "bytes": 5},
    ]
    assert [file["path"] for file in found["files"]] == ["foo", "new\u202e", "whee/blah"]
    assert found["files"][2]["link"]["version"] == "1"
    asset = as_json("tree", f"{published}/a")
    assert (asset["asset"], asset["latest"]) == ("a", "2")
    assert [version["version"] for version in asset["versions"]] == ["1", "2", "3-beta"]
    assert asset["versions"][1]["stored"] == {"files": 2, "bytes": 8}
    assert asset["versions"][1]["linked"] == {"files": 1, "bytes": 5}
    assert as_json("tree", published) == {
        "project": published,
        "assets": [{what: asset[what] for what in ("asset", "latest", "versions")}],
    }
    assert as_json("tree", published, "-L", "1") == {
        "project": published,
        "assets": [{"asset": "a"}],
    }


def test_a_damaged_version_does_not_hide_the_others(run, published, service):
    manifest = Path(service.registry, published, "a", "1", "..manifest")
    whole = manifest.read_bytes()
    manifest.write_text("{")
    lines = run("tree", f"{published}/a")[1].splitlines()
    assert "damaged" in lines[1]
    assert "latest" in lines[2]
    code, out, err = run("tree", f"{published}/a/1")
    manifest.write_bytes(whole)  # others read the whole registry
    assert (code, out) == (1, "")
    assert "damaged" in err


@pytest.mark.parametrize(
    ("address", "code"),
    [("no", 5), ("{p}/no", 5), ("{p}/a/no", 5), ("{p}/a/1/no", 5), ("{p}/a/1/foo", 1), ("/", 3)],
)
@pytest.mark.parametrize("remote", [(), ("--remote",)])
def test_tree_of_what_is_no_directory(run, published, address, code, remote):
    got, out, err = run("tree", address.format(p=published), *remote)
    assert (got, out) == (code, "")
    assert err.startswith("error: ")


def test_where_the_terminal_knows_ascii_only(published, service, monkeypatch):
    monkeypatch.setenv("GOBBLER_URL", service.url)
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    with pytest.raises(SystemExit):
        main(["tree", f"{published}/a/1/whee"])
    sys.stdout.flush()
    assert raw.getvalue().splitlines()[1] == b"`-- blah  5 bytes"
