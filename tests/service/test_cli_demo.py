"""The demonstration, on a library that is small enough for every run of the tests."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gobbler.cli import demo, main
from gobbler.cli import demo as demo_data
from gobbler.errors import Fault

from .processes import ATTENTIVE


@pytest.fixture
def library(tmp_path: Path) -> Path:
    made = tmp_path / "library"
    (made / "site-packages" / "other").mkdir(parents=True)
    (made / "json" / "__pycache__").mkdir(parents=True)
    (made / "empty").mkdir()
    (made / "this.py").write_text("import antigravity\n")
    (made / "json" / "__init__.py").write_text("x = 1\n")
    (made / "json" / ".dot").write_text("")
    (made / "odd\nname").write_text("")
    (made / "link").symlink_to("/etc/passwd")
    os.mkfifo(made / "pipe")
    return made


@pytest.fixture
def temporary(tmp_path, monkeypatch) -> Path:
    made = tmp_path / "temporary"
    made.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(made))
    return made


@pytest.fixture
def run(library, temporary, monkeypatch, capsys):
    monkeypatch.setattr(demo.sysconfig, "get_path", lambda name: str(library))

    def run(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main(["demo", *words])
        out, err = capsys.readouterr()
        assert list(temporary.iterdir()) == []
        return stop.value.code, out, err

    return run


def test_there_and_back(run):
    code, out, err = run()
    assert (code, err) == (0, "")
    for said in (
        "left out: directories of installed packages (1)",
        "left out: symbolic links (1)",
        "left out: special files (1)",
        "left out: names that a registry refuses (1)",
        "stored: 3 files",
        "stored: 1 file,",
        "linked: 2 files",
        "(latest)",
        "Compared byte by byte: no difference",
    ):
        assert said in out


def test_as_json(run):
    code, out, _ = run("--json")
    assert code == 0
    steps = json.loads(out)["steps"]
    assert [step["files"] for step in steps] == [0, 3, 3, 1, 3, 3]


def test_a_difference_is_found_and_ends_with_1(run, monkeypatch):
    original = demo_data.differences

    def spoilt(expected: str, got: str) -> list[str]:
        Path(got, "json", "__init__.py").write_text("x = 2\n")
        return original(expected, got)

    monkeypatch.setattr(demo, "differences", spoilt)
    code, _, err = run()
    assert code == 1
    assert "json/__init__.py has different content" in err


def test_a_failure_leaves_nothing(run, monkeypatch):
    def fail(*args: object) -> None:
        raise Fault("something broke")

    monkeypatch.setattr(demo.Demo, "fetch", fail)
    code, _, err = run()
    assert (code, err) == (1, "error: something broke\n")


def test_differences(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    for root in (one, other):
        (root / "sub").mkdir(parents=True)
        (root / "sub" / "same").write_text("same")
        (root / "content").write_text(root.name[:3])
    (one / "empty").mkdir()
    (one / "kind").mkdir()
    (other / "kind").write_text("")
    (other / "more").write_text("")
    (other / "..manifest").write_text("")
    assert demo_data.differences(str(one), str(other)) == [
        "empty is missing",
        "more is unexpected",
        "content has different content",
        "kind is a directory in one place and a file in the other",
    ]


DEMO = """
import sys, sysconfig
from gobbler.cli import main

sysconfig.get_path = lambda name: sys.argv[1]
main(["demo"])
"""


@pytest.mark.parametrize(
    ("number", "word"), [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "terminated")]
)
def test_an_interruption_leaves_nothing(number, word, library, temporary):
    for i in range(3000):
        (library / "json" / f"{i}.py").write_text(f"x = {i}\n")
    running = subprocess.Popen(
        [*ATTENTIVE, sys.executable, "-c", DEMO, str(library)],
        env={**os.environ, "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert running.stdout is not None
    while "Started a service" not in (line := running.stdout.readline()):
        assert line
    port = int(line.rpartition(":")[2].partition(",")[0])
    time.sleep(0.2)
    running.send_signal(number)
    out, err = running.communicate(timeout=60)
    assert (running.returncode, err.strip()) == (128 + number, word)
    assert "came back" not in out
    assert list(temporary.iterdir()) == []
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 1)
