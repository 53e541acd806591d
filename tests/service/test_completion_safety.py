"""What completion inserts is never run: names of the registry come from other users."""

from __future__ import annotations

import contextlib
import os
import pty
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gobbler.cli.completion import completed, is_literal
from gobbler.client import Client
from gobbler.client.testing import TestService

HOSTILE = {
    "a": "a$(touch pwned)",
    "b": "b`touch pwned`",
    "c": "c;touch pwned",
    "d": "d&touch pwned",
    "e": "e|touch pwned",
    "f": "f>pwned",
    "g": "g'\"",
    "h": "h *",
    "i": "i${IFS}$HOME",
    "j": "j{x,y}",
    "k": "k<(touch pwned)",
    "l": "l!!",
    "m": "m~root^a^b",
    "n": "n#=ls",
    "o": "o[a-z]?",
    "p": "p,touch pwned",
    "q": "q(touch pwned)",
    "r": "r%s\u202e",
}
"""Names by their first letters."""

AT_THE_START = [
    "-rf",
    "--url=http://127.0.0.1:1",
    "~root",
    "!x",
    "#x",
    "=ls",
    "%1",
    "+x",
    "'",
    "@(x)",
]


@pytest.fixture
def hostile(client: Client, project: str, tmp_path: Path) -> str:
    """A project with assets that have hostile names, and one that has a plain name."""
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "x").write_text("x")
    for name in [*HOSTILE.values(), "zürich_1.0-beta"]:
        client.upload(project, name, "1", tree)
    return project


def test_what_is_taken_literally() -> None:
    for name in [
        *HOSTILE.values(),
        *AT_THE_START,
        "a b",
        "a\tb",
        "a\nb",
        "a\\b",
        "\u202ex",
        "x\x1b",
    ]:
        assert not is_literal(name) or name[:1] in "@", name
    for name in ("weather/stations/1.2", "a/@latest", "zürich/1:2", "x/-1", "p/a/1/..manifest"):
        assert is_literal(name)


def test_names_that_are_not_literal_are_left_out(service: TestService, hostile: str) -> None:
    options = {"url": service.url}
    found = [item.value for item in completed(options, f"{hostile}/")]
    assert found == [f"{hostile}/zürich_1.0-beta/"]
    for letter in HOSTILE:
        assert completed(options, f"{hostile}/{letter}") == []


TYPED = "agkl"
"""Substitution, quotes, a process, and the history: the rest is left out just as these are."""

SETUP = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], 'eval "$(gobbler completion bash)"'),
    "zsh": (
        ["zsh", "-f", "-i"],
        'autoload -Uz compinit; compinit -u -D; eval "$(gobbler completion zsh)"',
    ),
    "fish": (["fish", "--no-config", "-i"], "gobbler completion fish | source"),
}


@pytest.mark.parametrize("shell", SETUP)
def test_shells_run_nothing(service: TestService, hostile: str, tmp_path: Path, shell: str) -> None:
    if shutil.which(shell) is None or shutil.which("setsid") is None:
        pytest.skip(f"there is no {shell}, or no setsid, here")
    command, setup = SETUP[shell]
    here = tmp_path / "here"
    here.mkdir()
    lines = [setup]
    lines += [f"gobbler ls {hostile}/{letter}\t" for letter in TYPED]
    lines += [f"gobbler ls {hostile}/z\t", f"gobbler ls {hostile}/\t\t"]
    text = _type(command, here, service, lines)
    assert os.listdir(here) == [], text
    # Completion works at all.
    assert "zürich_1.0-beta/" in text, text


def _type(command: list[str], here: Path, service: TestService, lines: list[str]) -> str:
    """Type lines into an interactive shell; return what its terminal shows."""
    controller, terminal = pty.openpty()
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {
        **os.environ,
        "PATH": path,
        "GOBBLER_URL": service.url,
        "HOME": str(here.parent),
        "TERM": "dumb",
        "LC_ALL": "C.UTF-8",
        "HISTFILE": "",
        "PS1": "$ ",
        "COLUMNS": "500",
    }
    shell = subprocess.Popen(
        ["setsid", "--ctty", "--wait", *command],  # fish needs a terminal of its own
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        cwd=here,
        env=environment,
    )
    os.close(terminal)
    shown = b""
    try:
        for number, line in enumerate(lines):
            os.write(controller, line.encode() + b"\r")
            # Only once this is run, the shell has gone through the line before.
            os.write(controller, f"echo DONE'-'{number}-\r".encode())
            deadline = time.monotonic() + 60
            while f"DONE-{number}-".encode() not in shown:
                assert time.monotonic() < deadline, shown.decode(errors="replace")
                shown += os.read(controller, 65536)
    finally:
        os.close(controller)  # which hangs up the shell
        with contextlib.suppress(subprocess.TimeoutExpired):
            shell.wait(10)
        shell.kill()
        shell.wait()
    return shown.decode(errors="replace")


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
def test_bash_gets_no_hostile_candidates(service: TestService, hostile: str) -> None:
    script = (
        'eval "$(gobbler completion bash)"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
        '_gobbler_completion gobbler; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    directory = shlex.quote(str(Path(sys.executable).parent))
    words = ["gobbler", "ls", f"{hostile}/"]
    ended = subprocess.run(
        ["bash", "-c", f"PATH={directory}:$PATH; {script}", "-", *words],
        env={**os.environ, "GOBBLER_URL": service.url},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert (ended.stdout.split(), ended.stderr) == ([f"{hostile}/zürich_1.0-beta/"], "")
