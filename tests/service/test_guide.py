"""The examples of the guide for scientists that read: they are run as they stand there."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from gobbler.client import Client

zarr = pytest.importorskip("zarr", minversion="3")

GUIDE = Path(__file__).parents[2] / "docs" / "scientists.md"
EXAMPLE_URL = "http://gobbler.example.org:8080"


def section(title: str) -> str:
    """What is below a heading, up to the next one."""
    found = re.search(rf"^### {re.escape(title)}\n(.*?)(?=^##)", GUIDE.read_text(), re.M | re.S)
    assert found is not None
    return found[1]


def blocks(title: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", section(title), re.M | re.S)


def needs(code: str) -> list[str]:
    modules = re.findall(r"^(?:import|from) (\w+)", code, re.M)
    return [name for name in modules if importlib.util.find_spec(name) is None]


@pytest.fixture(scope="module")
def weather(service, tmp_path_factory):
    """The project in the guide."""
    client = Client(service.url, staging=service.staging, registry=service.registry)
    source = tmp_path_factory.mktemp("weather")
    (source / "2026").mkdir()
    (source / "2026" / "berlin.csv").write_text("day,degrees\n1,3\n")
    array = zarr.open_group(source / "temperature.zarr", mode="w").create_array(
        "t", shape=(4,), chunks=(2,), dtype="f8", dimension_names=["day"]
    )
    array[:] = [1, 2, 3, 4]
    client.admin.create_project("weather")
    client.upload("weather", "stations", "1.1", source)
    (source / "2026" / "berlin.csv").write_text("day,degrees\n1,3\n2,-7\n")
    client.upload("weather", "stations", "1.2", source)


@pytest.fixture
def here(weather, service, monkeypatch, tmp_path):
    monkeypatch.setenv("GOBBLER_URL", service.url)
    monkeypatch.setenv("GOBBLER_CACHE", str(tmp_path / "cache"))


def execute(code: str, service, names: dict[str, object]) -> None:
    exec(compile(code.replace(EXAMPLE_URL, service.url), str(GUIDE), "exec"), names)


@pytest.mark.usefixtures("here")
def test_versions_and_what_differs(service, capsys):
    names: dict[str, object] = {}
    for title in ("In Python", "What differs between versions"):
        for code in blocks(title, "python"):
            execute(code, service, names)
    out = capsys.readouterr().out
    assert "day,degrees\n" in out
    assert "dict_keys(['2026/berlin.csv'])" in out
    assert "2026/berlin.csv 16 21" in out


@pytest.mark.usefixtures("here")
@pytest.mark.filterwarnings("default")  # those of others
def test_readers_through_fsspec(service, capsys):
    codes = blocks("pandas, zarr and others", "python")
    assert len(codes) == 3
    done = []
    for code in codes:
        if not needs(code):
            names: dict[str, object] = {}
            execute(code, service, names)
            done.append(names)
    assert done[0]["table"].shape == (2, 2)
    assert done[0]["group"]["t"][3] == 4
    assert done[-1]["start"] == b"day,degrees\n1,3\n2,-7\n"
    if len(done) == 3:
        assert done[1]["table"].shape == (2, 2)
        assert len(done[1]["frame"]) == 2
        assert float(done[1]["dataset"]["t"][3]) == 4


@pytest.mark.usefixtures("here")
def test_commands(tmp_path):
    (code,) = blocks("What differs between versions", "sh")
    directory = shlex.quote(str(Path(sys.executable).parent))
    ended = subprocess.run(
        ["bash", "-c", f"set -e; PATH={directory}:$PATH\n{code}"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=120,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    changed = "M\t2026/berlin.csv"
    assert ended.stdout == f"{changed}\t16\t21\n{changed}\nthe same\n"
