"""What a command loads before it answers: people type some of them all day."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SHOW = """
import atexit, sys
atexit.register(lambda: print("loaded", *sys.modules, file=sys.stderr))
import gc
atexit.register(lambda: print("collects:", gc.isenabled(), file=sys.stderr))
"""

COMMAND = """
sys.argv = ["gobbler", *sys.argv[1:]]
from gobbler.__main__ import run
run()
"""

CLIENT = {"gobbler.client", "msgspec"}
HTTP = {"requests", "urllib3", "ssl", "http.client", "email", "gobbler.client.direct"}
RARE = {"rich.console", "sqlite3", "tomlkit", "tomllib", "tempfile", "logging", "html"}
WORK = {
    "concurrent.futures",
    "gobbler.client.admin",
    "gobbler.client.bulk",
    "gobbler.client.cache",
    "gobbler.client.jobs",
    "gobbler.client.upload",
}
SERVICE = {"asyncio", "httptools", "gobbler.service", "gobbler.transfer", "prometheus_client"}


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    version = tmp_path / "p/a/1"
    version.mkdir(parents=True)
    (version / "f").write_text("content")
    md5 = "9a0364b9e99bb480dd25e1f0284c8555"
    (version / "..manifest").write_text(f'{{"f": {{"size": 7, "md5sum": "{md5}"}}}}')
    moment = "2026-11-28T12:00:00+00:00"
    (version / "..summary").write_text(
        f'{{"upload_user_id": "u", "upload_start": "{moment}", "upload_finish": "{moment}"}}'
    )
    (tmp_path / "p/a/..latest").write_text('{"version": "1"}')
    (tmp_path / "p/..permissions").write_text('{"owners": ["u"], "uploaders": []}')
    (tmp_path / "p/..usage").write_text('{"total": 7}')
    return tmp_path


def loaded(program: str, *words: str, **variables: str) -> set[str]:
    """The modules that a process has loaded when it has succeeded."""
    environment = {name: value for name, value in os.environ.items() if "GOBBLER" not in name}
    ended = subprocess.run(
        [sys.executable, "-c", SHOW + program, *words],
        capture_output=True,
        text=True,
        env={**environment, "XDG_CONFIG_HOME": "/nowhere", **variables},
    )
    *said, collects, last = ended.stderr.splitlines()
    assert ended.returncode == 0, said
    assert last.startswith("loaded "), said
    assert collects == "collects: True" or "--version" in words
    return set(last.split())


def test_the_version_needs_no_client() -> None:
    found = loaded(COMMAND, "--version")
    assert found & (CLIENT | HTTP | RARE | WORK | SERVICE) == set()


@pytest.mark.parametrize(
    "words",
    [
        ["ls"],
        ["ls", "p/a/@latest"],
        ["show", "p"],
        ["show", "p/a/1"],
        ["usage", "p"],
        ["tree", "p"],
    ],
    ids=" ".join,
)
def test_a_registry_on_this_machine_is_read_without_http(registry: Path, words: list[str]) -> None:
    found = loaded(COMMAND, *words, "--registry", str(registry))
    assert "gobbler.client.client" in found
    assert found & (HTTP | RARE | WORK | SERVICE) == set()


def test_a_fetch_of_what_is_here_needs_no_cache_and_draws_no_bar(registry: Path) -> None:
    found = loaded(COMMAND, "fetch", "p/a/1", "--registry", str(registry))
    assert found & (HTTP | SERVICE | {"rich.progress", "gobbler.client.cache.cache"}) == set()


def test_completion_of_an_address_needs_no_http(registry: Path) -> None:
    words = f"gobbler ls --registry {registry} p/"
    completing = {"_GOBBLER_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": "4"}
    found = loaded(COMMAND, **completing)
    assert "gobbler.cli.completion" in found
    assert found & (HTTP | RARE | WORK | SERVICE) == set()


@pytest.mark.parametrize("program", ["import gobbler; gobbler.Client", "import pygobbler"])
def test_the_client_is_imported_without_what_it_may_never_need(program: str) -> None:
    found = loaded(program)
    assert found & (HTTP | RARE | WORK | SERVICE | {"rich", "click"}) == set()


def test_an_error_of_the_client_is_one_of_requests_though_that_is_loaded_late() -> None:
    program = """
import gobbler
assert "requests" not in sys.modules
try:
    gobbler.Client("http://127.0.0.1:1").info()
except Exception as error:
    import requests
    from gobbler.client import NoAnswer, errors
    assert isinstance(error, requests.ConnectionError)
    assert isinstance(error, NoAnswer)
    assert type(error) is errors.NotConnected
else:
    raise AssertionError("somebody answers at port 1")
"""
    assert "requests" in loaded(program)
