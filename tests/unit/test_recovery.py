"""Recovery of abandoned workspaces, drafts and answers."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from gobbler.fs.flush import Durability
from gobbler.registry.recovery import recover, recover_workspace, remove_workspace
from gobbler.registry.registry import Registry
from gobbler.registry.workspace import new_workspace, new_workspace_name
from gobbler.spool.job_store import JobRecord


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    (tmp_path / "..incoming").mkdir()
    (tmp_path / "..logs").mkdir()
    return Registry(str(tmp_path))


def test_recovery_lists_the_directory_once(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    incoming = f"{registry.root}/..incoming"
    for name in ("1-a.lock", "1-b.draft", "1-c-task.done"):
        Path(incoming, name).touch()
    listed: list[str] = []
    real = os.listdir

    def listdir(path: str) -> list[str]:
        listed.append(path)
        return real(path)

    monkeypatch.setattr(os, "listdir", listdir)
    assert recover(registry, Durability.RELAXED) == (0, 1)
    assert listed == [incoming]
    assert real(incoming) == ["1-b.draft"], "its writer may live, on another host"


def test_a_resumable_workspace_is_found_by_its_name(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = new_workspace_name()
    with new_workspace(registry.root, name) as workspace:
        workspace.keep = True

    incoming = f"{registry.root}/..incoming"
    real = os.listdir
    listed: list[str] = []

    def list_directory(path: str) -> list[str]:
        listed.append(path)
        return real(path)

    with monkeypatch.context() as patched:
        patched.setattr(os, "listdir", list_directory)
        assert recover_workspace(registry, Durability.RELAXED, name) is None
    assert listed == [f"{incoming}/{name}"], "its own directory only"
    assert os.listdir(incoming) == [name]
    remove_workspace(registry, Durability.RELAXED, name)
    assert os.listdir(f"{registry.root}/..incoming") == []


def test_a_record_keeps_the_name_of_its_workspace_where_earlier_releases_had_it() -> None:
    record = JobRecord.of(1000, "alice", "request-upload-1", b"{}")
    stored = msgspec.json.decode(msgspec.json.encode(record))
    assert stored["task"] == record.workspace
    assert msgspec.json.decode(msgspec.json.encode(stored), type=JobRecord) == record
