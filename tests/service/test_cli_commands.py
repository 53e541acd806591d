"""The commands of a client against the real service: what they print, and how they end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gobbler.cli import COMMANDS

from .processes import ATTENTIVE


def test_info(run, as_json, service):
    code, out, err = run("info")
    assert (code, err) == (0, "")
    for known in (service.url, service.staging, service.registry):
        assert known in out
    assert as_json("info") == {
        "url": service.url,
        "staging": service.staging,
        "registry": service.registry,
        "staging_writable": True,
        "registry_mounted": True,
    }


def test_create_project(run, client):
    assert run("create-project", "cli-1") == (0, "created project cli-1\n", "")
    entry = '{"id": "no-alan", "asset": "a", "trusted": true}'
    owners, uploaders = ("no-ada", "no-grace"), ("no-bob", "no-alan")
    arguments = ("--owner", "no-ada", "--owner", "no-grace", "--uploader", "no-bob")
    code, out, err = run("create-project", "cli-2", *arguments, "--uploader", entry, "--json")
    assert (code, json.loads(out)) == (0, {"project": "cli-2"})
    without = "has no account on the host of the service"
    assert err.splitlines() == [
        f"warning: none of the owners {without.replace('has no', 'has an')}",
        *(f'warning: owner "{name}" {without}' for name in owners),
        *(f'warning: uploader "{name}" {without}' for name in uploaders),
    ]
    permissions = client.project("cli-2").permissions()
    assert permissions.owners == owners
    assert tuple(uploader.id for uploader in permissions.uploaders) == uploaders
    code, out, err = run("create-project", "cli-1")
    assert (code, out) == (3, "")
    assert err.startswith("error: ")
    assert "cli-1" in err
    assert run("create-project", "cli-3", "--uploader", "{oops")[0] == 2


def test_upload_reports_what_was_stored_and_linked(run, as_json, project, source):
    code, out, err = run("upload", source, f"{project}/a/1")
    assert (code, err) == (0, "")
    assert "stored    3 files, 19 bytes" in out
    assert "linked    0 files" in out
    (source / "foo").write_text("changed")
    got = as_json("upload", source, f"{project}/a/2")
    assert got.pop("seconds") > 0
    assert got == {
        "project": project,
        "asset": "a",
        "version": "2",
        "on_probation": False,
        "stored": {"files": 1, "bytes": 7},
        "linked": {"files": 2, "bytes": 16},
    }


def test_upload_options(run, client, project, source):
    (source / ".dot").write_text("")
    code, out, _ = run("upload", source, f"{project}/a/1", "--probation", "--keep-dot", "-j", "2")
    assert code == 0
    assert "on probation" in out
    assert ".dot" in client.version(project, "a", "1").manifest()
    staged = Path(client.allocate_upload_directory())
    (staged / "x").write_text("")
    assert run("upload", staged, f"{project}/b/1", "--consume")[0] == 0
    assert list(staged.iterdir()) == []
    staged.rmdir()


@pytest.mark.parametrize(
    ("address", "code", "said"),
    [
        ("no-such-project/a/1", 5, "no-such-project"),
        ("p/a", 3, "not the address of a version"),
        ("p/a/v/x", 3, "not the address of a version"),
        ("p/..a/v", 3, "..a"),
        ("p/a/@latest", 3, "@latest"),
    ],
)
@pytest.mark.usefixtures("nothing_left_in_staging")
def test_upload_refused(run, source, address, code, said):
    got, out, err = run("upload", source, address)
    assert (got, out) == (code, "")
    assert said in err


def test_upload_of_nothing(run, project, tmp_path):
    code, _, err = run("upload", tmp_path / "nothing", f"{project}/a/1")
    assert code == 5
    assert "nothing" in err


@pytest.fixture
def published(client, project, source):
    client.upload(project, "a", "1", source)
    client.upload(project, "a", "2", source)
    client.upload(project, "a", "3-beta", source, probation=True)
    return project


def test_ls(run, published):
    assert published in run("ls")[1].splitlines()
    assert run("ls", published) == (0, "a\n", "")
    lines = [line.split("\t") for line in run("ls", f"{published}/a/")[1].splitlines()]
    assert [(line[0], line[3]) for line in lines] == [
        ("1", ""),
        ("2", "latest"),
        ("3-beta", "on probation"),
    ]
    assert run("ls", f"{published}/a/1")[1].splitlines() == [
        "0\tchihaya/kisaragi/\t",
        "3\tfoo\t",
        "5\twhee/blah\t",
        "11\twhee2\t",
    ]
    latest = run("ls", f"{published}/a/@latest/whee")[1]
    assert latest == f"5\twhee/blah\t{published}/a/1/whee/blah\n"


def test_ls_as_json(as_json, published):
    assert published in as_json("ls")["projects"]
    assert as_json("ls", published) == {"project": published, "assets": ["a"]}
    versions = as_json("ls", f"{published}/a")
    assert versions["latest"] == "2"
    assert [v["on_probation"] for v in versions["versions"]] == [False, False, True]
    files = as_json("ls", f"{published}/a/2/foo")["files"]
    assert len(files) == 1
    assert files[0]["size"] == 3
    assert files[0]["link"]["version"] == "1"


def test_ls_of_a_damaged_version_shows_the_others(run, published, service):
    Path(service.registry, published, "a", "1", "..summary").write_text("{")
    lines = run("ls", f"{published}/a")[1].splitlines()
    assert "damaged" in lines[0]
    assert "latest" in lines[1]


@pytest.mark.parametrize("address", ["no", "{p}/no", "{p}/a/no", "{p}/a/1/no", "{p}/no/@latest"])
@pytest.mark.parametrize("remote", [(), ("--remote",)])
def test_ls_of_what_is_missing(run, published, address, remote):
    code, out, err = run("ls", address.format(p=published), *remote)
    assert (code, out) == (5, "")
    assert "no" in err


@pytest.mark.parametrize("remote", [(), ("--remote",)])
def test_fetch(run, as_json, published, source, service, tmp_path, remote):
    code, out, err = run("fetch", f"{published}/a/@latest", *remote)
    assert (code, err) == (0, "")
    directory = Path(out.removesuffix("\n"))
    assert (directory / "foo").read_text() == "BAR"
    assert str(directory).startswith(str(tmp_path) if remote else service.registry)
    file = run("fetch", f"{published}/a/1/whee/blah", *remote)[1].strip()
    assert Path(file).read_text() == "stuff"
    got = as_json("fetch", f"{published}/a/1/whee", *remote)
    assert got["directory"] is True
    assert os.listdir(got["path"]) == ["blah"]
    manifest = run("fetch", f"{published}/a/1/..manifest", *remote)[1].strip()
    assert "foo" in json.loads(Path(manifest).read_text())


@pytest.mark.parametrize("remote", [(), ("--remote",)])
def test_fetch_to(run, published, source, tmp_path, remote):
    target = tmp_path / "deep" / "target"
    code, out, _ = run("fetch", f"{published}/a/2", "--to", target, *remote)
    assert (code, out) == (0, f"{target}\n")
    got = sorted(str(path.relative_to(target)) for path in target.rglob("*"))
    assert got == ["chihaya", "chihaya/kisaragi", "foo", "whee", "whee/blah", "whee2"]
    assert not (target / "foo").is_symlink()
    assert run("fetch", f"{published}/a/2", "--to", target, *remote)[0] == 3
    (tmp_path / "own").mkdir()
    assert run("fetch", f"{published}/a/2/foo", "--to", tmp_path / "own", *remote)[0] == 0
    assert (tmp_path / "own" / "foo").read_text() == "BAR"
    code, _, err = run("fetch", f"{published}/a/2/foo", "--to", tmp_path / "own", *remote)
    assert code == 3
    assert "exists already" in err
    assert sorted(os.listdir(tmp_path / "own")) == ["foo"]


def test_fetch_needs_a_version(run, published):
    code, _, err = run("fetch", f"{published}/a")
    assert code == 3
    assert f"gobbler fetch {published}/a/@latest" in err


def test_no_service(run):
    code, out, err = run("ls", "--url", "http://127.0.0.1:1")
    assert (code, out) == (6, "")
    assert "error: no service answers at http://127.0.0.1:1" in err
    assert "hint: " in err


def test_no_address(run, monkeypatch, service):
    monkeypatch.delenv("GOBBLER_URL")
    monkeypatch.setenv("GOBBLER_REGISTRY", service.registry)
    code, _, err = run("info")
    assert code == 3
    assert "GOBBLER_URL" in err


def test_without_a_service_but_with_the_registry(run, published, service, monkeypatch):
    monkeypatch.setenv("GOBBLER_URL", "")
    assert run("ls", published, "--registry", service.registry) == (0, "a\n", "")


GROUPS = {
    "index": ("rebuild", "status"),
    "permissions": ("get", "set", "add", "remove"),
    "probation": ("list", "approve", "reject"),
    "refresh": ("latest", "usage"),
}


@pytest.mark.parametrize(
    "command",
    [(name,) for name in COMMANDS]
    + [(group, name) for group, names in GROUPS.items() for name in names],
    ids=" ".join,
)
def test_help_teaches_with_examples(run, command):
    code, out, _ = run(*command, "--help")
    assert code == 0
    assert "Example" in out
    assert f"gobbler {' '.join(command)}" in out.partition("Example")[2]


def test_a_reader_that_has_seen_enough_is_no_error(published, service, source, client):
    with (source / "big").open("wb") as file:
        file.truncate(3_000_000)
    client.upload(published, "a", "4", source)
    command = [sys.executable, "-m", "gobbler", "cat", f"{published}/a/4/big"]
    running = subprocess.Popen(
        [*command, "--url", service.url], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert running.stdout.read(1) == b"\0"
    running.stdout.close()
    assert (running.stderr.read(), running.wait(timeout=60)) == (b"", 128 + signal.SIGPIPE)
    running.stderr.close()


@pytest.mark.parametrize(
    ("number", "word"),
    [
        (signal.SIGINT, b"interrupted"),
        (signal.SIGTERM, b"terminated"),
        (signal.SIGHUP, b"hung up"),
    ],
)
def test_what_is_stopped_cleans_up(
    service, project, tmp_path, nothing_left_in_staging, number, word
):
    source = tmp_path / "large"
    source.mkdir()
    with (source / "big").open("wb") as file:
        file.truncate(2_000_000_000)
    command = [sys.executable, "-m", "gobbler", "upload", str(source), f"{project}/a/1"]
    running = subprocess.Popen(
        [*ATTENTIVE, *command, "--url", service.url], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 20
    before = set(os.listdir(service.staging))
    while set(os.listdir(service.staging)) <= before and time.monotonic() < deadline:
        time.sleep(0.01)
    running.send_signal(number)
    out, err = running.communicate(timeout=60)
    assert (running.returncode, out) == (128 + number, b"")
    assert err.strip() == word
    assert not Path(service.registry, project, "a").exists()


def test_an_error_is_a_json_document_with_its_code(run, project):
    missing = run("ls", f"{project}/there/@latest", "--json")
    code, out, err = missing
    reported = json.loads(out)["error"]
    assert (code, reported.keys()) == (5, {"code", "reason", "hint"})
    assert err.startswith(f"error: {reported['reason']}\n")
    code, out, err = run("fetch", project, "--json")
    reported = json.loads(out)["error"]
    assert (code, reported["code"]) == (3, "invalid-address")
    assert f"hint: {reported['hint']}\n" in err


def test_a_wrong_command_line_is_one_too(run):
    code, out, err = run("ls", "--odd", "--json")
    assert (code, json.loads(out)["error"]["code"]) == (2, "usage")
    assert "--odd" in err
