"""The original client, as it comes from the package index, against our service."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

RELEASE = "pygobbler==0.1.11"

PROGRAM = Path(__file__).with_name("original_client.py")


@pytest.fixture(scope="session")
def original_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter that has the original client, and nothing of ours."""
    home = tmp_path_factory.mktemp("original")
    subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
    python = home / "bin" / "python"
    installed = subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", RELEASE],
        capture_output=True,
        text=True,
    )
    if installed.returncode != 0:
        pytest.skip(f"{RELEASE} can't be installed here: {installed.stderr[-300:]}")
    return python


@pytest.fixture(scope="session")
def seen(original_python: Path, service: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What the original client saw, by the name of the step."""
    work = tmp_path_factory.mktemp("original-work")
    done = subprocess.run(
        [original_python, PROGRAM, service.url, service.staging, service.registry, str(work)],
        capture_output=True,
        text=True,
        cwd=work,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_it_is_the_original(seen: Any) -> None:
    assert seen["version"] == RELEASE.partition("==")[2]


def test_it_finds_the_directories(seen: Any, service: Any) -> None:
    assert seen["info"] == {"staging": service.staging, "registry": service.registry}


def test_it_lists_the_same_here_and_from_afar(seen: Any) -> None:
    for what in ("projects", "assets", "versions", "files"):
        assert sorted(seen[what]["local"]) == sorted(seen[what]["remote"]), what
    assert sorted(seen["assets"]["local"]) == ["first", "linked", "probed"]
    assert sorted(seen["files"]["local"]) == ["..manifest", "..summary", "a.txt", "d/b.bin", "e/"]


def test_it_fetches_the_same_here_and_from_afar(seen: Any) -> None:
    for what in ("manifest", "summary", "latest", "permissions", "usage", "file", "directory"):
        assert seen[what]["local"] == seen[what]["remote"], what
    assert seen["latest"]["local"] == "2"
    assert seen["usage"]["local"] == 3 + 70_000


def test_a_version_that_is_the_same_is_links(seen: Any) -> None:
    assert all("link" in entry for path, entry in seen["second"].items() if path != "e")


def test_a_clone_uploads_as_links(seen: Any) -> None:
    assert seen["linked"]["a.txt"]["link"]["version"] == "1"
    assert "link" not in seen["linked"]["new.txt"]


def test_probation_ends_with_an_approval(seen: Any) -> None:
    assert seen["probation"] == {"before": [True, None], "after": [False, "1"]}


def test_permissions_are_appended(seen: Any) -> None:
    assert seen["set_permissions"]["owners"][1:] == ["ada"]
    assert seen["set_permissions"]["uploaders"] == [{"id": "alan", "trusted": True}]


def test_rerouting_and_removing(seen: Any) -> None:
    assert seen["reroute"]["dry"] == seen["reroute"]["done"] != []
    assert seen["validated"] == "fine"
    assert seen["removed"] == {"versions": ["2"], "projects": False}


def test_a_refusal_reports_the_reason(seen: Any) -> None:
    assert "already exists" in seen["refusal"]
