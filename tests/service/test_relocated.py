"""Registries that were copied with ``rsync`` or moved: read, served and continued as before."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from gobbler.client import Client
from gobbler.client.handle import names_of

from .processes import Place, Running


@pytest.fixture
def first(tmp_path: Path) -> Place:
    """A registry with links: within a version, to earlier ones, and to another project."""
    (tmp_path / "first").mkdir()
    place = Place(tmp_path / "first")
    with Running(place) as running:
        client = Client(running.url, staging=place.staging, registry=place.registry)
        for project in ("p", "q"):
            client.admin.create_project(project)
        source = tmp_path / "source"
        (source / "deep").mkdir(parents=True)
        (source / "same").write_text("always the same")
        (source / "deep/near").symlink_to("../same")
        client.upload("p", "a", "1", source)
        (source / "new").write_text("new")
        client.upload("p", "a", "2", source)
        client.version("p", "a", "2").clone(tmp_path / "clone")
        client.upload("q", "b", "1", tmp_path / "clone")
        running.terminate()
    return place


def _rsync(old: Path, new: Path) -> None:
    if shutil.which("rsync") is None:
        pytest.skip("there is no rsync")
    subprocess.run(["rsync", "-aH", f"{old}/", f"{new}/"], check=True)
    shutil.rmtree(old)


def _copy(old: Path, new: Path) -> None:
    subprocess.run(["cp", "-a", old, new], check=True)
    shutil.rmtree(old)


def _link(old: Path, new: Path) -> None:
    """What was moved is reached by a link to where it went, as with an automounter."""
    moved = new.parent / "disk-7"
    old.rename(moved)
    new.symlink_to(moved)


@pytest.mark.parametrize("move", [os.rename, _rsync, _copy, _link])
def test_a_registry_goes_on_elsewhere(
    first: Place, tmp_path: Path, move: Callable[[Path, Path], None]
) -> None:
    elsewhere = tmp_path / "an other/place"
    elsewhere.mkdir(parents=True)
    second = Place(elsewhere)
    second.registry.rmdir()
    move(first.registry, second.registry)

    alone = Client(registry=second.registry)
    assert names_of(alone.projects()) == ["p", "q"]
    fetched = Path(alone.version("q", "b", "1").fetch())
    assert (fetched / "deep/near").read_text() == "always the same"
    assert (fetched / "deep/near").resolve() == (second.registry / "p/a/1/same").resolve()

    with Running(second) as running:
        client = Client(running.url, staging=second.staging, registry=second.registry)
        for address in (("p", "a", "1"), ("p", "a", "2"), ("q", "b", "1")):
            assert client.admin.validate_version(*address) is None
        source = tmp_path / "source"
        with pytest.raises(Exception, match="already exists"):
            client.upload("p", "a", "2", source)
        (source / "newer").write_text("newer")
        client.upload("p", "a", "3", source)
        entries = client.version("p", "a", "3").manifest()
        assert [path for path, entry in entries.items() if entry.link is None] == ["newer"]
        assert client.admin.validate_version("p", "a", "3") is None
        far = Client(running.url, cache=tmp_path / "cache", force_remote=True)
        assert Path(far.version("q", "b", "1").fetch(), "new").read_text() == "new"
