"""Copies of files in whitelisted directories, which their owners may have changed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gobbler.fs.open import closing
from gobbler.transfer.duplicate import _open


@pytest.fixture
def link(tmp_path: Path) -> Path:
    (tmp_path / "pool/d").mkdir(parents=True)
    (tmp_path / "pool/d/file").write_text("content")
    made = tmp_path / "link"
    made.symlink_to(tmp_path / "pool/d/file")
    return made


@pytest.mark.parametrize(("path", "mode"), [("pool/d/file", 0o640), ("pool/d", 0o750)])
def test_what_became_private_is_not_copied_for_everybody(
    tmp_path: Path, link: Path, path: str, mode: int
) -> None:
    whitelist = (str(tmp_path / "pool"),)
    with closing(_open(str(link), whitelist)) as opened:
        assert os.read(opened, 100) == b"content"
    before = len(os.listdir("/proc/self/fd"))
    (tmp_path / path).chmod(mode)
    with pytest.raises(PermissionError, match="not everybody may read it"):
        _open(str(link), whitelist)
    assert len(os.listdir("/proc/self/fd")) == before
