"""Cleanup of staging: what is old by its newest change goes, and nothing else."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from gobbler.fs.age import is_unchanged
from gobbler.fs.open import closing, open_directory
from gobbler.service import staging_cleanup
from gobbler.service.staging_cleanup import (
    CleanedStaging,
    StagingLog,
    clean_staging,
    source_of,
)

DAY = 86_400.0
LATER = time.time() + 30 * DAY
"""A limit before which everything that a test makes has changed: nobody can set a change time."""


@pytest.fixture
def tmp_path(removed_by_us: Path) -> Path:
    """For a mount, and a deep tree."""
    return removed_by_us


@pytest.fixture
def staging(tmp_path: Path) -> Path:
    made = tmp_path / "staging"
    made.mkdir()
    return made


def unchanged(place: Path, limit: float) -> bool:
    with closing(open_directory(str(place.parent))) as directory:
        return is_unchanged(directory, place.name, limit)


def make(place: Path) -> Path:
    (place / "d" / "e").mkdir(parents=True)
    (place / "d" / "e" / "f").write_text("f")
    (place / "empty").mkdir()
    return place


def pretend_old(place: Path) -> None:
    for path in (*place.rglob("*"), place):
        os.utime(path, (1, 1), follow_symlinks=False)


def test_the_newest_change_counts(staging):
    tree = make(staging / "tree")
    assert unchanged(tree, LATER)
    assert not unchanged(tree, time.time() - DAY)
    assert not unchanged(staging / "no", LATER)


def test_a_fresh_copy_of_old_files_is_new(staging, tmp_path):
    make(tmp_path / "old")
    pretend_old(tmp_path / "old")
    subprocess.run(["cp", "-a", tmp_path / "old", staging / "copy"], check=True)
    assert (staging / "copy" / "d" / "e" / "f").stat().st_mtime == 1
    assert not unchanged(staging / "copy", time.time() - 60)
    assert clean_staging(str(staging), time.time() - 60) == CleanedStaging()
    assert clean_staging(str(staging), LATER).removed == ["copy"]


@pytest.mark.parametrize("newest", ["d/e/f", "d/e", "d", "empty", "."])
def test_a_future_time_anywhere_below_is_new(staging, newest):
    tree = make(staging / "tree")
    os.utime(tree / newest, (LATER + DAY, LATER + DAY))
    assert not unchanged(tree, LATER)


def test_links_are_not_followed(staging, tmp_path):
    make(tmp_path / "outside")
    (tmp_path / "outside" / "precious").write_text("precious")
    os.utime(tmp_path / "outside" / "precious", (LATER + DAY, LATER + DAY))
    tree = staging / "tree"
    tree.mkdir()
    (tree / "d").symlink_to(tmp_path / "outside")
    (tree / "f").symlink_to(tmp_path / "outside" / "precious")
    (staging / "link").symlink_to(tmp_path / "outside")
    assert clean_staging(str(staging), LATER).removed == ["tree"]
    assert (tmp_path / "outside" / "precious").read_text() == "precious"
    assert (staging / "link").is_symlink()


def test_a_tree_deeper_than_files_may_be_open(staging):
    subprocess.run(["mkdir", "-p", f"{staging}/deep/" + "/".join("d" for _ in range(1500))])
    try:
        assert unchanged(staging / "deep", LATER)
        assert not unchanged(staging / "deep", time.time() - DAY)
    finally:
        subprocess.run(["rm", "-rf", staging / "deep"], check=True)


def test_what_is_removed(staging):
    for name in ("tree", "..requests", "..spool", "lost+found", "job source"):
        make(staging / name)
    for name in ("request-upload-1", "other file", "..lock"):
        (staging / name).write_text("{}")
    keep = frozenset({"job source"})
    would = clean_staging(str(staging), LATER, keep=keep, dry_run=True)
    assert would.removed == ["request-upload-1", "tree"]
    assert (staging / "tree" / "d" / "e" / "f").exists()
    assert clean_staging(str(staging), LATER, keep=keep) == would
    assert sorted(os.listdir(staging)) == [
        "..lock",
        "..requests",
        "..spool",
        "job source",
        "lost+found",
        "other file",
    ]


def test_another_filesystem_is_left_alone(staging):
    if os.geteuid() != 0:
        pytest.skip("only root can mount a filesystem")
    (staging / "tree" / "mounted").mkdir(parents=True)
    (staging / "mounted").mkdir()
    places = [staging / "tree" / "mounted", staging / "mounted"]
    for place in places:
        if subprocess.run(["mount", "-t", "tmpfs", "none", place]).returncode != 0:
            pytest.skip("a filesystem can't be mounted here")
    try:
        for place in places:
            (place / "precious").write_text("precious")
        assert clean_staging(str(staging), LATER) == CleanedStaging()
        assert all((place / "precious").exists() for place in places)
    finally:
        for place in places:
            subprocess.run(["umount", place], check=True)


def test_a_tree_that_grows_while_it_is_removed_does_not_keep_the_cleanup(staging, monkeypatch):
    """A user who makes directories faster than they are removed would keep it for ever."""
    make(staging / "tree")
    (staging / "younger").mkdir()
    limit = time.time() + 0.1
    while time.time() <= limit:
        time.sleep(0.01)
    real, made = os.scandir, []

    def scandir(directory):
        if isinstance(directory, int) and removing:
            assert len(made) < 100, "the walk follows without end"
            os.mkdir(f"grown{len(made)}", dir_fd=directory)
            made.append(directory)
        return real(directory)

    removing = False
    is_old = staging_cleanup.is_unchanged

    def then_grow(*arguments):
        nonlocal removing
        removing = False
        found = is_old(*arguments)
        removing = True
        return found

    monkeypatch.setattr(os, "scandir", scandir)
    monkeypatch.setattr(staging_cleanup, "is_unchanged", then_grow)
    cleaned = clean_staging(str(staging), limit)
    assert made
    assert cleaned.left == ["tree", "younger"]


def test_what_can_not_be_removed_is_told_once(caplog):
    caplog.set_level("INFO")
    log = StagingLog()
    for left in (["a", "b"], ["a", "b"], ["a"], ["a", "c"]):
        log.log(CleanedStaging(["gone"], left))
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(told) == 2
    assert "2 old files or directories" in told[0]
    assert '"c"' in told[1]


@pytest.mark.parametrize(
    ("request_", "source"),
    [
        (b'{"source": "upload-1"}', "upload-1"),
        (b"{}", None),
        (b"[", None),
        (b'{"source": 1}', None),
    ],
)
def test_the_source_of_a_request(request_, source):
    assert source_of(request_) == source
