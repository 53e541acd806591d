"""What a newcomer types first works as the README shows it, with nothing configured."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from gobbler.cli import common, main
from gobbler.client import resolve
from gobbler.client.resolve import DEFAULT_URL
from gobbler.client.testing import HOST, ReservedPort
from gobbler.service.settings import DEFAULT_DIRECTORY

from .processes import own_name, wait_for

BLOCK = """\
set -e
mkdir results below; echo 1,2 > results/berlin.csv
gobbler serve &
gobbler create-project weather
gobbler upload ./results weather/stations/1.2
gobbler ls weather/stations
cd below
gobbler fetch weather/stations/@latest
kill $!
wait $! || test $? -eq 143
"""


@pytest.fixture
def nothing(tmp_path: Path) -> dict[str, str]:
    """The environment of somebody who has configured nothing, in an empty directory."""
    (tmp_path / "home").mkdir()
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "gobbler"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m gobbler "$@"\n')
    command.chmod(0o755)
    (tmp_path / "work").mkdir()
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    return {"HOME": str(tmp_path / "home"), "PATH": path}


@pytest.fixture
def alone() -> list[str]:
    """The start of a command line that runs in a network of its own, with all ports free."""
    start = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    if os.geteuid() != 0 or not (shutil.which("unshare") and shutil.which("ip")):
        pytest.skip("only root can make a network of its own")
    if subprocess.run([*start, "true"], capture_output=True).returncode != 0:
        pytest.skip("this machine does not allow a network of its own")
    return start


def test_the_first_block(tmp_path: Path, nothing: dict[str, str], alone: list[str]) -> None:
    work = tmp_path / "work"
    ended = subprocess.run(
        [*alone, "bash", "-c", BLOCK],
        cwd=work,
        env=nothing,
        capture_output=True,
        text=True,
        timeout=120,
    )
    registry = work / DEFAULT_DIRECTORY / "registry"
    assert ended.returncode == 0, ended.stderr
    lines = ended.stdout.splitlines()
    assert lines[0] == "created project weather"
    assert lines[1].startswith("published weather/stations/1.2 in ")
    assert lines[4].split("\t")[0] == "1.2"
    assert lines[-1] == str(registry / "weather" / "stations" / "1.2")
    assert (registry / "weather/stations/1.2/berlin.csv").read_text() == "1,2\n"
    assert f"no service is configured: using {DEFAULT_URL}\n" in ended.stderr
    assert f"administrator  {own_name()}\n" in ended.stderr
    assert "gobbler create-project weather\n" in ended.stderr


def test_it_says_which_service_commands_have_to_name(
    tmp_path: Path, nothing: dict[str, str]
) -> None:
    work, log = tmp_path / "work", tmp_path / "log"
    with ReservedPort() as port, log.open("wb") as output:
        command = [tmp_path / "bin" / "gobbler", "serve", f"--port={port.number}"]
        with subprocess.Popen(command, cwd=work, env=nothing, stderr=output) as service:
            wait_for("the service", lambda: "Stop it with Ctrl-C" in log.read_text())
            service.terminate()
            try:
                assert service.wait(timeout=60) == 0
            finally:
                service.kill()
    url = f"http://{HOST}:{port.number}"
    assert f"  gobbler create-project weather --url {url}\n" in log.read_text()
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in work.glob("*/*")}
    assert modes == {"staging": 0o1733, "registry": 0o755}


def test_one_directory_alone_is_not_enough(tmp_path: Path, nothing: dict[str, str]) -> None:
    for given, missing in (("staging", "registry"), ("registry", "staging")):
        command = [tmp_path / "bin" / "gobbler", "serve", f"--{given}={tmp_path}"]
        ended = subprocess.run(command, cwd=tmp_path, env=nothing, capture_output=True, text=True)
        assert ended.returncode == 2
        assert f"Missing option '--{missing}'" in ended.stderr
    assert not (tmp_path / DEFAULT_DIRECTORY).exists()


def test_without_any_service_the_error_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in resolve.ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path))
    monkeypatch.setattr(common, "STARTED_WITHIN", 0.2)
    with ReservedPort() as port:
        monkeypatch.setattr(resolve, "DEFAULT_URL", f"http://{HOST}:{port.number}")
        with pytest.raises(SystemExit) as stop:
            main(["ls", "--json"])
    out, err = capsys.readouterr()
    assert (stop.value.code, json.loads(out)["error"]["code"]) == (6, "no-answer")
    assert "hint: Start one with: gobbler serve" in err
