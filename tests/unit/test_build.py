"""The symbolic links of a version that is being built, by one thread or several."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import Executor
from pathlib import Path

import pytest

from gobbler.model.names import VersionKey
from gobbler.model.progress import NeverCancelled, NoProgress
from gobbler.model.records import Entry, Link, Manifest, Summary
from gobbler.registry.registry import Registry
from gobbler.registry.workspace import new_workspace
from gobbler.rules.links import InWhitelist
from gobbler.rules.upload_plan import Plan
from gobbler.transfer import dispatch, ingest
from gobbler.transfer.dispatch import Dispatcher
from gobbler.transfer.executors import LocalExecutor, pool_of
from gobbler.transfer.ingest import write_version

KEY = VersionKey("p", "a", "2")
SUMMARY = Summary("u", "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z")
DIRECTORIES = ("", "c", "d", "d/e")


@pytest.fixture(params=["one", "several", "as where each call takes long", "processes"])
def executor(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Executor]:
    if request.param in ("several", "as where each call takes long"):
        monkeypatch.setattr(ingest, "MANY_LINKS", 2)
        monkeypatch.setattr(ingest, "FIRST_LINKS", 3)
    if request.param == "as where each call takes long":
        monkeypatch.setattr(ingest, "HIGH_LATENCY_SECONDS", -1.0)
    if request.param != "processes":
        yield LocalExecutor(1, processes=0)
        return
    monkeypatch.setattr(dispatch, "MANY_FILES", 2)
    monkeypatch.setattr(dispatch, "MIN_BATCH_FILES", 3)
    with LocalExecutor(1, processes=1) as executor:
        pool = pool_of(executor)
        assert pool is not None
        pool.join()
        pool.leave()
        deadline = time.monotonic() + 30
        while pool.mother is None and time.monotonic() < deadline:
            time.sleep(0.01)
        yield executor


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


@pytest.fixture
def dispatcher(tmp_path: Path, executor: Executor) -> Iterator[Dispatcher]:
    (tmp_path / "..incoming").mkdir()
    with new_workspace(str(tmp_path)) as workspace:
        os.mkdir(workspace.tree)
        yield Dispatcher(
            Registry(str(tmp_path)),
            executor,
            4,
            write_out=False,
            workspace=workspace,
            progress=NoProgress(),
            cancel=NeverCancelled(),
        )


def test_every_link_leads_where_it_should(dispatcher: Dispatcher) -> None:
    top = Path(dispatcher.workspace.tree)
    plan, manifest = tree(top)
    write_version(dispatcher, KEY, plan, manifest, SUMMARY)
    found = {
        str(path.relative_to(top)): os.readlink(path)
        for path in top.rglob("*")
        if path.is_symlink()
    }
    assert found == {**wanted(), "kept": "/w/x", "d/kept": "/w/y"}


def test_the_link_that_can_not_be_made_is_named(dispatcher: Dispatcher) -> None:
    top = Path(dispatcher.workspace.tree)
    plan, manifest = tree(top)
    (top / "d/e/f5").write_bytes(b"")
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(FileExistsError) as caught:
        write_version(dispatcher, KEY, plan, manifest, SUMMARY)
    assert caught.value.filename2 == str(top / "d/e/f5")
    assert len(os.listdir("/proc/self/fd")) == before
