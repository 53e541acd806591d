"""Addresses, names and variables that make no sense: a message, and never a traceback."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

import pygobbler as pyg
from gobbler.client import Client
from gobbler.client.testing import TestService
from gobbler.errors import Refused

NOT_UTF8 = os.fsdecode(b"\xff")

NO_URLS = [
    "http://[::1",
    "http://",
    "http://[::1]:99999",
    "http://127.0.0.1:port",
    "http://127.0.0.1:0",
    "nothing",
    "http://a b",
    "http://a..b",
    f"http://{'a' * 80}.org",
    f"http://{NOT_UTF8}",
    "http://\x1b]0;x",
    "ftp://127.0.0.1",
    "http://user:secret@[::1",
    "user:secret@127.0.0.1:1",
]


@pytest.mark.parametrize("url", NO_URLS)
def test_what_is_no_address_is_refused(run: Any, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    code, out, err = run("ls", "--url", url)
    assert (code, out, "is not the address of a service" in err) == (3, "", True)
    assert err.isascii()
    assert "secret" not in err
    monkeypatch.setenv("GOBBLER_URL", url.replace(NOT_UTF8, "\udcff"))
    assert run("info")[0] == 3
    with pytest.raises(Refused, match="is not the address of a service") as caught:
        pyg.service_info(url)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


COMMANDS = [
    *(["ls"], ["show"], ["show", "--links"], ["tree"], ["fetch"], ["cat"], ["usage"]),
    *(["diff", "p/a/1"], ["permissions", "get"], ["permissions", "add", "--owner", "x"]),
    *(["probation", "list"], ["probation", "approve"], ["validate"], ["validate", "--all"]),
    *(["reindex"], ["refresh", "latest"], ["refresh", "usage"], ["delete", "--yes"]),
    *(["reroute"], ["create-project"], ["jobs", "show"], ["jobs", "cancel"], ["upload", "/tmp"]),
    *(["fetch", "--remote"], ["cat", "--remote"], ["ls", "--remote"]),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("address", ["{}", "p/{}", "p/a/{}", "p/a/1/{}", "{}/a/1"])
@pytest.mark.parametrize("odd", [NOT_UTF8, "x\x1b[31m", "\u202e", "a\nb"])
def test_names_that_are_not_text(run: Any, command: list[str], address: str, odd: str) -> None:
    if command[0] == "create-project" and odd == "\u202e":
        pytest.skip("it is a valid name")
    code, out, err = run(*command, address.format(odd))
    assert code in (2, 3, 5) or odd == "\u202e", err
    assert all(line.isprintable() for line in (out + err).replace("\t", " ").split("\n"))


def test_values_that_are_not_text(
    run: Any, project: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = str(tmp_path / NOT_UTF8)
    (tmp_path / "config.toml").touch()
    monkeypatch.setenv("GOBBLER_CONFIG", str(tmp_path / "config.toml"))
    for words, expected in [
        (["upload", odd, f"{project}/a/1"], 5),
        (["upload", source, f"{project}/a/1", "--spoof", NOT_UTF8], 3),
        (["upload", source, f"{project}/a/1", "--staging", odd], 5),
        (["upload", source, f"{project}/a/1"], 0),
        (["permissions", "add", project, "--owner", NOT_UTF8], 3),
        (["permissions", "add", project, "--uploader", f'{{"id": "{NOT_UTF8}"}}'], 2),
        (["config", "set", "cache", odd], 3),
        (["config", "set", "service.lab.url", f"http://{NOT_UTF8}"], 3),
        (["fetch", f"{project}/a/1", "--registry", odd], 0),
        (["doctor", "--staging", odd, "--registry", odd], 1),
        (["index", "status", "--registry", odd, "--index", odd], 3),
        ([NOT_UTF8], 2),
        (["ls", f"--{NOT_UTF8}"], 2),
        (["ls", "--service", NOT_UTF8], 2),
    ]:
        code, _, err = run(*words)
        if "--service" not in words:
            assert code == expected, (words, err)
        assert all(line.isprintable() for line in err.splitlines())


def test_paths_that_are_not_text_are_written_exactly_as_json(
    run: Any, project: str, source: Path, tmp_path: Path
) -> None:
    run("upload", source, f"{project}/a/1")
    target = tmp_path / NOT_UTF8
    _, out, _ = run("fetch", f"{project}/a/1", "--to", target, "--json")
    assert os.fsencode(json.loads(out)["path"]) == bytes(target)
    clone = tmp_path / f"clone{NOT_UTF8}"
    _, out, _ = run("clone", f"{project}/a/1", clone, "--json")
    assert os.fsencode(json.loads(out)["path"]) == bytes(clone)
    _, out, _ = run("cache", "ls", "--cache", target, "--json")
    assert os.fsencode(json.loads(out)["cache"]) == bytes(target)


def test_a_configuration_that_cannot_be_is_reported(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOBBLER_CONFIG", f"/nowhere/{NOT_UTF8}")
    code, _, err = run("ls")
    assert (code, "which does not exist" in err) == (3, True)


SECRET = "pa55word"


@pytest.fixture
def secret_url(service: TestService) -> str:
    return service.url.replace("http://", f"http://ada:{SECRET}@")


def test_a_password_in_an_address_is_used_and_not_shown(
    run: Any,
    service: TestService,
    secret_url: str,
    project: str,
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("GOBBLER_URL", secret_url)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "config.toml").touch()
    monkeypatch.setenv("GOBBLER_CONFIG", str(tmp_path / "config.toml"))
    address = f"{project}/a/1"
    said = [
        run("config", "set", "service.lab.url", secret_url, "--json"),
        run("upload", source, address),
        run("fetch", address, "--remote"),
        run("cache", "ls"),
        run("cache", "ls", "--json"),
        run("info"),
        run("info", "--json"),
        run("config", "show"),
        run("config", "show", "--json"),
        run("validate", "--all", project),
        run("show", address, "--links"),
        run("ls", "nothing", "--remote"),
        run("upload", source, address, "--staging", tmp_path),
        run("ls", "--url", f"http://ada:{SECRET}@127.0.0.1:1"),
        run("ls", "--url", f"http://ada:{SECRET}@[::1"),
        run("config", "set", "service.lab.url", f"http:/ada:{SECRET}@x"),
    ]
    assert [code for code, _, _ in said[:11]] == [0] * 11, said
    assert all(code for code, _, _ in said[11:])
    assert SECRET not in str(said) + caplog.text
    for below in (tmp_path / "cache", tmp_path / "state"):
        assert not [path for path in below.rglob("*") if SECRET in str(path)]
    for ledger in (tmp_path / "state").rglob("*.sqlite*"):
        assert ledger.is_dir() or SECRET.encode() not in ledger.read_bytes()
    # With or without the password, it is one service.
    assert len(list((tmp_path / "cache").iterdir())) == 1
    monkeypatch.setenv("GOBBLER_URL", service.url)
    run("fetch", address, "--remote")
    assert len(list((tmp_path / "cache").iterdir())) == 1
    both = Client(secret_url)
    thing = both.project(project)
    assert SECRET not in f"{both!r} {both.connection} {thing!r} {thing._repr_html_()}"
    assert both.url == secret_url  # for programs


def test_variables_in_the_path_of_the_cache(
    run: Any, project: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("upload", source, f"{project}/a/1")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USER", "ada")
    for given, found in [
        ("~/of-$USER", "home/of-ada"),
        ("$HOME/${USER}", "home/ada"),
        (f"{tmp_path}/x", "x"),
    ]:
        monkeypatch.setenv("GOBBLER_CACHE", given)
        _, out, err = run("fetch", f"{project}/a/1", "--remote")
        assert (out.startswith(f"{tmp_path}/{found}/"), err) == (True, "")
        own = Client(os.environ["GOBBLER_URL"], force_remote=True)
        assert own.cache.path == f"{tmp_path}/{found}"
    _, out, _ = run("fetch", f"{project}/a/1", "--remote", "--cache", "~/option")
    assert out.startswith(f"{tmp_path}/home/option/")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("GOBBLER_CACHE", "/scratch/$NO_SUCH_VARIABLE")
    code, out, err = run("fetch", f"{project}/a/1", "--remote")
    assert (code, out.startswith(f"{tmp_path}/data/gobbler/")) == (0, True)
    assert err == 'warning: GOBBLER_CACHE does not count: "$NO_SUCH_VARIABLE" in it is not set\n'
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "home", "source", "x"]
