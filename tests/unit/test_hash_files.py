"""Files that are hashed where they are, and why some can't be."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest

from gobbler.errors import Fault
from gobbler.model.progress import NoProgress
from gobbler.transfer.hash_batch import HashBatch, Hashed, run_hash_batch


@pytest.fixture
def batch(tmp_path: Path) -> HashBatch:
    (tmp_path / "f").write_bytes(b"content")
    return HashBatch(str(tmp_path), str(tmp_path), {"reported": "f"})


def _fail_with(number: int, monkeypatch: pytest.MonkeyPatch, function: str) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, function, fail)


def test_a_file_is_hashed(batch: HashBatch) -> None:
    md5sum = hashlib.md5(b"content").hexdigest()
    assert run_hash_batch(batch, NoProgress()) == [Hashed("reported", 7, md5sum, "")]


@pytest.mark.parametrize("function", ["read", "fstat"])
def test_a_failing_disk_is_nobodys_mistake(
    batch: HashBatch, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    with monkeypatch.context() as patched:
        _fail_with(errno.EIO, patched, function)
        found = run_hash_batch(batch, NoProgress())
    problem = "can't be read: Input/output error"
    assert found == [Hashed("reported", 0, "", problem, failed=True)]


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EACCES])
def test_a_file_that_is_not_there_or_closed_is_a_mistake(
    batch: HashBatch, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    _fail_with(number, monkeypatch, "open")
    (hashed,) = run_hash_batch(batch, NoProgress())
    assert not hashed.failed
    assert os.strerror(number) in hashed.problem


def test_what_says_nothing_about_the_file_is_raised(
    batch: HashBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fail_with(errno.EMFILE, monkeypatch, "open")
    with pytest.raises(Fault, match="Too many open files"):
        run_hash_batch(batch, NoProgress())
