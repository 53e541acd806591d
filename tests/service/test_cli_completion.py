"""Completion of addresses, and the scripts that shells are given."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gobbler.cli.completion import candidates, completed
from gobbler.client import Client


@pytest.fixture
def published(client, project, source):
    client.upload(project, "stations", "1.1", source)
    client.upload(project, "stations", "1.2", source)
    client.upload(project, "wind", "1", source)
    return project


@pytest.fixture(params=["local", "remote"])
def reader(request, client, remote) -> Client:
    return client if request.param == "local" else remote


def test_candidates(reader, published, client):
    client.admin.create_project(f"{published}-other")  # an only project is completed further

    def found(incomplete):
        return candidates(reader, incomplete.replace("P", published))

    def at(*ends):
        return [f"{published}/{end}" for end in ends]

    assert found("P/") == at("stations/", "wind/")
    assert found("P/s") == at("stations/1.1", "stations/1.2", "stations/@latest")
    assert found("P/stations/1") == at("stations/1.1", "stations/1.2")
    assert found("P/stations/@") == at("stations/@latest")
    assert found("P/stations/1.2/") == at(
        *(f"stations/1.2/{name}" for name in ("chihaya/", "foo", "whee/", "whee2"))
    )
    assert found("P/stations/@latest/whee/") == at("stations/@latest/whee/blah")
    assert found("P/stations/1.1/chi") == []
    assert f"{published}/" in candidates(reader, "")
    assert found("P/no") == found("P//x") == []


def test_what_is_wrong_completes_to_nothing(published, service, tmp_path):
    for options, incomplete in [
        ({}, ""),
        ({"url": "http://127.0.0.1:1"}, ""),
        ({"registry": str(tmp_path / "no")}, ""),
        ({"registry": service.registry}, "no/no/no/"),
        ({"registry": service.registry}, f"{published}/..x/"),
        ({"registry": service.registry}, f"{published}/stations/1.1/foo/"),
    ]:
        assert completed(options, incomplete) == []
    assert completed({"registry": service.registry}, f"{published}/w")[0].value == (
        f"{published}/wind/1"
    )


def test_scripts(run):
    for shell in ("bash", "zsh", "fish"):
        code, out, _ = run("completion", shell)
        assert code == 0
        assert f"_GOBBLER_COMPLETE={shell}_complete" in out
    assert run("completion", "tcsh")[0] == 2


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
def test_bash_completes_commands_options_and_addresses(published, service):
    def complete(*words: str) -> list[str]:
        script = (
            'eval "$(gobbler completion bash)"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
            '_gobbler_completion gobbler; printf "%s\\n" "${COMPREPLY[@]}"'
        )
        directory = Path(sys.executable).parent
        ended = subprocess.run(
            ["bash", "-c", f"PATH={shlex.quote(str(directory))}:$PATH; {script}", "-", *words],
            env={**os.environ, "GOBBLER_REGISTRY": service.registry, "GOBBLER_URL": ""},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert ended.stderr == ""
        return ended.stdout.split()

    assert complete("gobbler", "dif") == ["diff"]
    assert complete("gobbler", "probation", "a") == ["approve"]
    assert "--name-status" in complete("gobbler", "diff", "--n")
    assert complete("gobbler", "validate", "--all", "--bu") == ["--budget"]
    assert complete("gobbler", "refresh", "--a") == ["--all"]
    assert complete("gobbler", "refresh", "--all", "--rest") == ["--restart"]
    assert complete("gobbler", "refresh", "--all", published[:-1]) == complete(
        "gobbler", "ls", published[:-1]
    )
    assert complete("gobbler", "diff", f"{published}/wind/1", f"{published}/st") == [
        f"{published}/stations/{version}" for version in ("1.1", "1.2", "@latest")
    ]
