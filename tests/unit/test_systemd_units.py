"""The systemd units of the manual: valid, and hardened."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

MAX_EXPOSURE = 3.0

_UNIT = re.compile(
    r"`/etc/systemd/system/(?P<name>[a-z-]+\.[a-z]+)`.*?```ini\n(?P<text>.*?)```", re.S
)

pytestmark = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd")


def units() -> dict[str, str]:
    """The units of the manual by name."""
    found = {m["name"]: m["text"] for m in _UNIT.finditer((ROOT / "docs/systemd.md").read_text())}
    service = found["gobbler.service"]
    hardening = service[service.index("ProtectSystem=") : service.index("[Install]")]
    worker = found["gobbler-worker.service"]
    found["gobbler-worker.service"] = worker.replace("[Install]", hardening + "[Install]")
    return found


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """The units, with a program that exists."""
    for name, text in units().items():
        (tmp_path / name).write_text(text.replace("/opt/gobbler/bin/gobbler", "/bin/true"))
    return tmp_path


def test_the_manual_has_them() -> None:
    assert set(units()) == {"gobbler.socket", "gobbler.service", "gobbler-worker.service"}


@pytest.mark.parametrize("name", ["gobbler.socket", "gobbler.service", "gobbler-worker.service"])
def test_they_are_valid(directory: Path, name: str) -> None:
    done = subprocess.run(
        ["systemd-analyze", "verify", name], cwd=directory, capture_output=True, text=True
    )
    complaints = [line for line in done.stderr.splitlines() if "gobbler" in line]
    assert complaints == []


@pytest.mark.parametrize("name", ["gobbler.service", "gobbler-worker.service"])
def test_they_are_hardened(directory: Path, name: str) -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--no-pager", f"./{name}"],
        cwd=directory,
        capture_output=True,
        text=True,
        check=True,
    )
    exposure = re.search(r"exposure level for \S+: ([0-9.]+)", done.stdout)
    assert exposure is not None
    assert float(exposure[1]) < MAX_EXPOSURE
