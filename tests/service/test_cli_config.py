"""`gobbler config`, and clients that find their service by it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import pygobbler
from gobbler.cli import main
from gobbler.client import Client, config
from gobbler.errors import Refused


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch) -> Path:
    """A user without any configuration, on a machine without any."""
    monkeypatch.delenv("GOBBLER_CONFIG")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr(config, "SITE_DIRECTORY", str(tmp_path / "etc"))
    return tmp_path


@pytest.fixture
def run(capsys):
    """Run a command; answer its exit code, standard output and standard error."""

    def run(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main(list(words))
        out, err = capsys.readouterr()
        return stop.value.code, out, err

    return run


def shown(run, *words: str) -> dict[str, tuple[str, str]]:
    code, out, err = run("config", "show", *words)
    assert (code, err) == (0, "")
    rows = [line.split("\t") for line in out.splitlines()]
    return {name: (value, source) for name, value, source in rows}


def test_a_service_is_configured_and_found(run, service, project, place):
    file = f"{place}/user/gobbler/config.toml"
    assert run("config", "path") == (0, f"{file}\n", "")
    done = run("config", "set", "service.lab.url", service.url)
    assert done == (0, f"changed {file}\n", "")
    found = shown(run)
    assert found["service"] == ("lab", "the only service")
    assert found["url"] == (service.url, file)
    assert found["staging"] == found["registry"] == ("", "from the service")
    assert found["cache"][1] == "default"
    assert project in run("ls")[1]
    assert Client().url == service.url
    assert Client().project(project).exists()


def test_the_site_reports_its_users(run, service, project, place):
    assert run("config", "set", "--site", "service.lab.url", service.url)[0] == 0
    assert run("config", "set", "--site", "default", "lab")[0] == 0
    site = f"{place}/etc/gobbler/config.toml"
    assert run("config", "path", "--site") == (0, f"{site}\n", "")
    assert shown(run)["url"] == (service.url, site)
    assert Client().project(project).exists()


def test_one_of_several(run, service, project, monkeypatch):
    run("config", "set", "service.lab.url", service.url)
    run("config", "set", "service.gone.url", "http://127.0.0.1:1")
    code, out, err = run("ls")
    assert (code, out) == (3, "")
    assert err.startswith("error: several services (gone, lab) are configured, and none")
    assert err.count("\n") == 2
    assert project in run("ls", "--service", "lab")[1]
    assert run("ls", "--service", "gone")[0] == 6
    assert Client(service="lab").project(project).exists()
    monkeypatch.setenv("GOBBLER_SERVICE", "lab")
    assert shown(run)["service"] == ("lab", "GOBBLER_SERVICE")
    assert Client().project(project).exists()
    code, _, err = run("ls", "--service", "none")
    assert code == 5
    assert err.startswith('error: there is no service "none" in the configuration')
    code, _, err = run("ls", "--service", "lab", "--url", service.url)
    assert code == 3


def test_the_environment_is_nearer_than_files(run, service, monkeypatch):
    run("config", "set", "service.gone.url", "http://127.0.0.1:1")
    monkeypatch.setenv("GOBBLER_URL", service.url)
    monkeypatch.setenv("GOBBLER_REGISTRY", service.registry)
    found = shown(run)
    assert found["url"] == (service.url, "GOBBLER_URL")
    assert found["registry"] == (service.registry, "GOBBLER_REGISTRY")
    assert found["service"] == ("", "not set")
    assert Client().registry == service.registry
    assert run("info")[0] == 0


def test_as_json(run, service, place):
    file = f"{place}/user/gobbler/config.toml"
    changed = run("config", "set", "service.lab.url", service.url, "--json")[1]
    reported = {"setting": "service.lab.url", "value": service.url, "path": file}
    assert json.loads(changed) == reported
    assert json.loads(run("config", "path", "--json")[1]) == {"path": file, "exists": True}
    found = json.loads(run("config", "show", "--json")[1])
    assert found["settings"]["url"] == {"value": service.url, "source": file}
    assert found["settings"]["staging"] is None
    assert (found["services"], found["files"]) == (["lab"], [file])
    changed = run("config", "unset", "service.lab", "--json")[1]
    assert json.loads(changed) == {"setting": "service.lab", "path": file}
    assert json.loads(run("config", "show", "--json")[1])["services"] == []
    assert run("config", "unset", "service.lab")[0] == 5


def test_the_cache_that_is_configured(run, service, project, place):
    run("config", "set", "service.lab.url", service.url)
    run("config", "set", "cache", f"{place}/mine")
    assert Client().cache.path == f"{place}/mine"
    code, out, _ = run("cache", "ls")
    assert (code, out) == (0, "")
    assert Client(force_remote=True).fetch_file(f"{project}/..usage").startswith(f"{place}/mine/")


def test_readers_through_fsspec_find_it_too(run, service, project, place):
    fsspec = pytest.importorskip("fsspec")
    run("config", "set", "service.lab.url", service.url)
    run("config", "set", "service.gone.url", "http://127.0.0.1:1")
    run("config", "set", "default", "lab")
    for options in ({}, {"service": "lab"}, {"service": service.url}, {"url": service.url}):
        found = fsspec.filesystem("gobbler", skip_instance_cache=True, **options)
        assert project in found.ls("", detail=False), options
    far = fsspec.filesystem("gobbler", skip_instance_cache=True, service="gone")
    with pytest.raises(OSError, match="no service answers"):
        far.ls("")


@pytest.fixture
def broken(place) -> Path:
    file = place / "user" / "gobbler" / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_text('[service.lab]\nurl = "lab.example.org"\n')
    return file


@pytest.mark.parametrize(
    "words", ["ls", "config show", "cache ls", "upload . p/a/1", "config set cache /a"]
)
def test_a_broken_file_is_two_lines_and_no_traceback(run, broken, words):
    before = broken.read_text()
    code, out, err = run(*words.split())
    assert (code, out) == (3, "")
    first, second = err.splitlines()
    assert first.startswith(f"error: {broken}, line 2: service.lab.url is not the address")
    assert second.startswith("hint: ")
    assert broken.read_text() == before


def test_a_broken_file_in_a_process_of_its_own(broken):
    command = [sys.executable, "-m", "gobbler", "ls"]
    ended = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ))
    assert ended.returncode == 3
    assert ended.stderr.startswith(f"error: {broken}, line 2")
    assert "Traceback" not in ended.stderr


def test_who_is_given_everything_looks_nowhere(broken, service, project, monkeypatch):
    """Neither a broken file nor what the environment says plays a part."""
    monkeypatch.setenv("GOBBLER_SERVICE", "none")
    monkeypatch.setenv("GOBBLER_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("GOBBLER_STAGING", "/nowhere")
    assert project in pygobbler.list_projects(service.registry, service.url)
    assert pygobbler.refresh_usage(project, service.staging, service.url) == 0
    path = pygobbler.fetch_file(
        f"{project}/..usage", service.registry, service.url, force_remote=True
    )
    assert Path(path).is_file()
    reported = Client(service.url)
    assert reported.staging == service.staging
    assert Client(registry=service.registry).url is None


def test_a_client_without_an_address_says_what_to_do(tmp_path):
    with pytest.raises(Refused, match="needs the address of the service") as caught:
        Client(registry=tmp_path).info()
    assert "gobbler config set service.NAME.url URL" in caught.value.hint
