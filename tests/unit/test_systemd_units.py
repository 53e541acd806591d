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
    return {m["name"]: m["text"] for m in _UNIT.finditer((ROOT / "docs/systemd.md").read_text())}


SERVICES = sorted(name for name in units() if name.endswith(".service"))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """The units, with a program that exists."""
    for name, text in units().items():
        (tmp_path / name).write_text(text.replace("/opt/gobbler/bin/gobbler", "/bin/true"))
    return tmp_path


def test_the_manual_has_them() -> None:
    assert set(units()) == {
        "gobbler.socket",
        "gobbler.service",
        "gobbler-worker.service",
        "gobbler-clean.service",
        "gobbler-clean.timer",
        "gobbler-validate.service",
        "gobbler-validate.timer",
    }


def test_no_other_page_has_units() -> None:
    pages = [page.name for page in (ROOT / "docs").rglob("*.md") if "```ini" in page.read_text()]
    assert pages == ["systemd.md"]


@pytest.mark.parametrize("name", sorted(units()))
def test_they_are_valid(directory: Path, name: str) -> None:
    done = subprocess.run(
        ["systemd-analyze", "verify", name], cwd=directory, capture_output=True, text=True
    )
    complaints = [line for line in done.stderr.splitlines() if "gobbler" in line]
    assert complaints == []


@pytest.mark.parametrize("name", SERVICES)
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
