"""A umask that takes rights from the owner of what is created."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from gobbler.client import Client
from gobbler.client.notices import Doubtful
from gobbler.errors import Misconfigured
from gobbler.filestore import FileStore
from gobbler.fs.umask import keep_owners_rights, umask_leaves, umask_problem


@pytest.fixture(params=[0o777, 0o377, 0o177], ids=oct)
def mean(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_python_is_told(mean: int, tmp_path: Path) -> None:
    with pytest.warns(Doubtful, match=f"umask {mean:04o} "):
        Client(registry=tmp_path)
    with pytest.raises(Misconfigured, match=f"umask {mean:04o}") as refused:
        FileStore(tmp_path / "store").prepare()
    assert "umask 022" in refused.value.hint
    assert not (tmp_path / "store").exists()


def test_a_process_of_ours_mends_it(mean: int) -> None:
    assert not umask_leaves(0o700)
    keep_owners_rights()
    assert umask_problem() is None
    assert umask_leaves(0o700)
    assert os.umask(mean) == mean & 0o077
