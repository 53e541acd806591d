"""The symbolic links of a version that is being built, by one thread or several."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gobbler.model.names import VersionKey
from gobbler.model.records import Entry, Link, Manifest, Summary
from gobbler.rules.links import InWhitelist
from gobbler.rules.upload_plan import Plan
from gobbler.transfer import ingest
from gobbler.transfer.ingest import write_version

KEY = VersionKey("p", "a", "2")
SUMMARY = Summary("u", "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z")
DIRECTORIES = ("", "c", "d", "d/e")


@pytest.fixture(params=["one", "several", "as where each call takes long"], autouse=True)
def _threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param != "one":
        monkeypatch.setattr(ingest, "MANY_LINKS", 2)
        monkeypatch.setattr(ingest, "FIRST_LINKS", 3)
    if request.param == "as where each call takes long":
        monkeypatch.setattr(ingest, "HIGH_LATENCY_SECONDS", -1.0)


def wanted() -> dict[str, str]:
    """The text of each link by its path."""
    found = {}
    for directory in DIRECTORIES:
        depth = len(directory.split("/")) if directory else 0
        for number in range(8):
            path = f"{directory}/f{number}".lstrip("/")
            found[path] = "../" * (depth + 1) + f"1/there/{number}"
    return found


def tree(top: Path) -> tuple[Plan, Manifest]:
    """The directories of a tree, and what its links are made from."""
    for directory in DIRECTORIES:
        (top / directory).mkdir(exist_ok=True)
    manifest = {
        path: Entry(1, "0" * 32, Link("p", "a", "1", f"there/{path[-1]}")) for path in wanted()
    }
    kept = {"kept": InWhitelist("/w", "x"), "d/kept": InWhitelist("/w", "y")}
    return Plan([], {}, kept, {}, []), {"plain": Entry(1, "0" * 32), **manifest}


def test_every_link_leads_where_it_should(tmp_path: Path) -> None:
    plan, manifest = tree(tmp_path)
    write_version(str(tmp_path), KEY, plan, manifest, SUMMARY, width=4)
    found = {
        str(path.relative_to(tmp_path)): os.readlink(path)
        for path in tmp_path.rglob("*")
        if path.is_symlink()
    }
    assert found == {**wanted(), "kept": "/w/x", "d/kept": "/w/y"}


def test_the_link_that_can_not_be_made_is_named(tmp_path: Path) -> None:
    plan, manifest = tree(tmp_path)
    (tmp_path / "d/e/f5").write_bytes(b"")
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(FileExistsError) as caught:
        write_version(str(tmp_path), KEY, plan, manifest, SUMMARY, width=4)
    assert caught.value.filename2 == str(tmp_path / "d/e/f5")
    assert len(os.listdir("/proc/self/fd")) == before
