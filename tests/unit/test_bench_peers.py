"""Services that the bench starts, or finds."""

from __future__ import annotations

import os
import socket
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from bench.measuring import children, listener
from bench.peers import StartedService, filled

SERVER = f"{sys.executable} -c '{{code}}' {{{{port}}}} {{{{staging}}}}"


def command(code: str) -> str:
    return SERVER.format(code=code)


def test_a_command_is_filled_in() -> None:
    words = filled(
        "{python} -s '{staging} x' -r {registry} {port} {user}",
        staging="/s",
        registry="/r",
        port=80,
    )
    assert words[:5] == [sys.executable, "-s", "/s x", "-r", "/r"]
    assert words[5] == "80"


@pytest.mark.parametrize(
    ("text", "reason"),
    [("serve {staging}", "must have {port}"), ("serve {port} {stage}", "unknown {stage}")],
)
def test_a_wrong_command_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        filled(text, staging="", registry="", port=0)


def test_a_service_that_ends_is_reported_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"(?s)it ended with 3:.*no such option"):
        StartedService(
            tmp_path / "x", "it", command('import sys; print("no such option"); sys.exit(3)')
        )
    assert list(tmp_path.iterdir()) == []


def test_a_silent_service_is_stopped(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="did not answer"):
        StartedService(tmp_path / "x", "it", "sleep 60 {port} {staging}", seconds=0)
    assert list(tmp_path.iterdir()) == []
    assert [pid for pid in children(os.getpid()) if str(tmp_path) in words_of(pid)] == []


def words_of(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text()
    return ""


def test_whoever_listens_is_found() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/prefix"
        assert listener(url) == os.getpid()
    assert listener(url) is None
