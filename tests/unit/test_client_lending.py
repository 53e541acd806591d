"""Files that get another name in staging, rather than a copy there."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
import time
from pathlib import Path

import pytest

from gobbler.client.progress import Silent
from gobbler.client.uploading.lending import CHUNK, Checksums, Lent, lend
from gobbler.client.uploading.sending import Sent
from gobbler.client.uploading.staging import stage
from gobbler.errors import Fault


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "file"
    made.write_bytes(os.urandom(CHUNK + 17))
    made.chmod(0o644)
    return made


def lent(file: Path, target: Path | None = None) -> Lent | None:
    return lend(str(file), str(target or file.with_name("target")), file.lstat())


def checksums(*files: Lent) -> Checksums:
    return Checksums({str(number): file for number, file in enumerate(files)}, 2)


def test_a_lent_file_is_the_same_file(file: Path) -> None:
    found = lent(file)
    assert found is not None
    assert file.samefile(file.with_name("target"))
    with checksums(found) as running:
        md5sum = hashlib.md5(file.read_bytes()).hexdigest()
        assert running.result() == {"0": Sent(CHUNK + 17, md5sum)}


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o646, 0o4644, 0o2644, 0o1644])
def test_what_others_may_change_or_may_not_read_is_not_lent(file: Path, mode: int) -> None:
    file.chmod(mode)
    assert stat.S_IMODE(file.stat().st_mode) == mode
    assert lent(file) is None
    assert not file.with_name("target").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a file away")
def test_somebody_elses_file_is_not_lent(file: Path) -> None:
    os.chown(file, 12345, 12345)
    assert lent(file) is None


@pytest.mark.skipif(shutil.which("setfacl") is None, reason="needs setfacl")
def test_a_file_with_an_acl_is_not_lent(file: Path) -> None:
    done = subprocess.run(["setfacl", "-m", "u:12345:rw", file], check=False)
    if done.returncode != 0:
        pytest.skip("no ACLs on this filesystem")
    file.chmod(0o644)  # which cuts the ACL down; nobody need know that
    assert lent(file) is None


def test_a_file_of_another_filesystem_is_not_lent(file: Path) -> None:
    elsewhere = Path("/dev/shm")
    if not elsewhere.is_dir() or elsewhere.stat().st_dev == file.stat().st_dev:
        pytest.skip("there is no other filesystem")
    assert lent(file, elsewhere / f"gobbler-{os.getpid()}") is None


def test_nothing_is_written_over(file: Path) -> None:
    file.with_name("target").write_text("there already")
    with pytest.raises(FileExistsError):
        lent(file)


@pytest.mark.parametrize("change", ["grows", "touched", "replaced", "gone", "a fifo"])
def test_a_change_is_noticed(file: Path, change: str) -> None:
    found = lent(file)
    assert found is not None
    if change == "grows":
        with file.open("ab") as more:
            more.write(b"more")
    elif change == "touched":
        os.utime(file, ns=(0, time.time_ns() + 1))
    else:
        file.unlink()
    if change == "replaced":
        file.write_bytes(bytes(CHUNK + 17))
    elif change == "a fifo":
        os.mkfifo(file)
    with checksums(found) as running, pytest.raises(Fault, match="changed while it was uploaded"):
        running.result()


def test_an_error_elsewhere_ends_the_computing(tmp_path: Path) -> None:
    hole = tmp_path / "hole"
    with hole.open("wb") as file:
        file.truncate(1 << 40)  # hours of work
    hole.chmod(0o644)
    found = lent(hole)
    assert found is not None
    with pytest.raises(ZeroDivisionError), checksums(found, found):
        raise ZeroDivisionError


def test_a_job_that_goes_on_gets_copies(file: Path, tmp_path: Path) -> None:
    (tmp_path / "staging").mkdir()
    (tmp_path / "source").mkdir()
    source = file.rename(tmp_path / "source" / "file")
    for may_lend in (False, True):
        made = stage(
            str(source.parent),
            str(tmp_path / "staging"),
            ignore_dot=True,
            concurrent=1,
            progress=Silent(),
            may_lend=may_lend,
        )
        assert (tmp_path / "staging" / made.name / "file").samefile(source) == may_lend
        assert (set(made.sent), set(made.lent)) == (
            (set(), {"file"}) if may_lend else ({"file"}, set())
        )
        made.remove()
    assert source.stat().st_nlink == 1
