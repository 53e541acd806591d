"""The codes of errors in reading and locking a registry."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest

from gobbler.errors import Code, Fault, Missing
from gobbler.model.names import AssetKey, VersionKey
from gobbler.registry.locks import changing_asset, changing_project
from gobbler.registry.registry import Registry
from gobbler.registry.workspace import WorkspaceInUse, new_workspace, new_workspace_name


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    (tmp_path / "..incoming").mkdir()
    (tmp_path / "p/a/1").mkdir(parents=True)
    (tmp_path / "p/a/1/..manifest").write_text('{"x": {"size": "one"}}')
    return Registry(str(tmp_path))


def test_what_does_not_exist_has_a_code(registry: Registry) -> None:
    with pytest.raises(Missing) as caught:
        registry.permissions("q")
    assert caught.value.code is Code.PROJECT_NOT_FOUND
    with pytest.raises(Missing) as caught, changing_project(registry, "q"):
        pass
    assert caught.value.code is Code.PROJECT_NOT_FOUND
    with pytest.raises(Missing) as caught, changing_asset(registry, AssetKey("p", "b")):
        pass
    assert caught.value.code is Code.ASSET_NOT_FOUND
    with pytest.raises(Missing) as caught:
        registry.summary(VersionKey("p", "a", "1"))
    assert caught.value.code is Code.FILE_NOT_FOUND


def test_a_damaged_record_has_a_code(registry: Registry) -> None:
    with pytest.raises(Fault, match=r"p/a/1/\.\.manifest is damaged") as caught:
        registry.manifest(VersionKey("p", "a", "1"))
    assert caught.value.code is Code.DAMAGED_RECORD


def test_a_workspace_in_use_has_a_code_also_in_copies_of_the_error(registry: Registry) -> None:
    name = new_workspace_name()
    with (
        new_workspace(registry.root, name),
        pytest.raises(WorkspaceInUse, match=f"still works in .*{name}") as caught,
        new_workspace(registry.root, name),
    ):
        pass
    for error in (caught.value, copy.copy(caught.value), pickle.loads(pickle.dumps(caught.value))):
        assert error.code is Code.WORKSPACE_IN_USE
        assert error.hint == "The service tries again in a moment."
