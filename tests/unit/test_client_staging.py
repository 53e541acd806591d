"""Bringing a directory into staging."""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import re
import stat
from pathlib import Path

import pytest

from gobbler.client import staged_tree
from gobbler.client.checksums import Checksums
from gobbler.client.errors import NotThere
from gobbler.client.notices import LeftOut
from gobbler.client.staging import Staged, allocate_upload_directory, staged
from gobbler.client.staging_directory import StagingDirectory
from gobbler.errors import Cancelled, Code, Fault, Refused
from gobbler.model.progress import NoProgress


@pytest.fixture
def staging(tmp_path: Path) -> Path:
    made = tmp_path / "staging"
    made.mkdir()
    return made


@pytest.fixture
def source(tmp_path: Path) -> Path:
    made = tmp_path / "source"
    (made / "sub" / "deep").mkdir(parents=True)
    (made / "empty" / "below").mkdir(parents=True)
    (made / "one").write_text("one")
    (made / "sub" / "deep" / "two").write_bytes(os.urandom(3_000_000))
    return made


def stage(source, staging, *, ignore_dot=True, concurrent=1, progress=None, checksums=None):
    return staged(
        str(source),
        StagingDirectory(str(staging)),
        ignore_dot=ignore_dot,
        concurrent=concurrent,
        progress=progress or NoProgress(),
        checksums=checksums,
    )


@pytest.mark.parametrize("concurrent", [1, 4])
def test_a_copy_is_the_same_and_goes_away(source, staging, concurrent):
    with stage(source, staging, concurrent=concurrent) as at:
        assert at.is_copy
        copy = staging / at.name
        assert (copy / "one").read_text() == "one"
        two = "sub/deep/two"
        assert (copy / two).read_bytes() == (source / two).read_bytes()
        assert (copy / "empty" / "below").is_dir()
    assert list(staging.iterdir()) == []


def test_what_stands_in_staging_is_used_as_it_is(staging):
    (staging / "mine").mkdir()
    with stage(staging / "mine", staging) as at:
        assert at == Staged("mine", None)
    assert (staging / "mine").is_dir()


def test_the_paths_of_staging_may_be_spelled_differently(staging, tmp_path, monkeypatch):
    (staging / "mine").mkdir()
    (tmp_path / "link").symlink_to(staging)
    monkeypatch.chdir(staging)
    for spelled in ("mine", "./mine/", f"{tmp_path}/link/mine", f"{staging}/../staging/mine"):
        with stage(spelled, staging) as at:
            assert at == Staged("mine", None)


def test_a_directory_deeper_in_staging_is_copied(staging):
    (staging / "mine" / "sub").mkdir(parents=True)
    (staging / "mine" / "sub" / "one").write_text("one")
    with stage(staging / "mine" / "sub", staging) as at:
        assert at.is_copy
        assert (staging / at.name / "one").read_text() == "one"


def test_a_link_in_staging_is_no_source_but_what_it_means_is(source, staging):
    (staging / "link").symlink_to(source)
    with stage(staging / "link", staging) as at:
        assert at.is_copy


def test_dots_are_left_out_as_the_service_would(source, staging):
    (source / ".git").mkdir()
    (source / ".git" / "huge").write_text("")
    (source / "..hidden").write_text("")
    (source / "sub" / ".x").write_text("")
    with pytest.warns(LeftOut) as told, stage(source, staging) as at:
        assert sorted(p.name for p in (staging / at.name).rglob(".*")) == []
    assert [str(each.message).partition(" (")[0] for each in told] == [
        'the upload leaves out 2 names that start with a dot: ".git", "sub/.x"',
        'the upload leaves out 1 name that starts with "..", as names of the service do: '
        '"..hidden"',
    ]
    assert {each.filename for each in told} == {__file__}
    with pytest.warns(LeftOut, match=r"\.\.hidden"), stage(source, staging, ignore_dot=False) as at:
        assert sorted(p.name for p in (staging / at.name).rglob(".*")) == [".git", ".x"]


def test_links_keep_their_meaning(source, staging, tmp_path):
    outside = tmp_path / "registry" / "file"
    links = {
        "inside": ("sub/deep/two", "sub/deep/two"),
        "sub/up": ("../one", "../one"),
        "sub/directory": ("deep", "deep"),
        "sub/dangling": ("nothing", "nothing"),
        "absolute": (str(outside), str(outside)),
        "sub/leaving": ("../../registry/file", str(outside)),
        "sub/own": (f"{source}/sub/deep/two", "deep/two"),
        "itself": (str(source), str(source)),
    }
    for name, (target, _) in links.items():
        (source / name).symlink_to(target)
    with stage(source, staging) as at:
        got = {name: os.readlink(staging / at.name / name) for name in links}
    assert got == {name: copied for name, (_, copied) in links.items()}


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o007, 0o022, 0o027, 0o077])
def test_the_service_can_read_it_and_nobody_else_can_write_it(source, staging, umask):
    (source / "one").chmod(0o600)
    (source / "sub").chmod(0o700)
    before = os.umask(umask)
    try:
        with stage(source, staging) as at:
            copy = staging / at.name
            found = {p: stat.S_IMODE(p.stat().st_mode) for p in [copy, *copy.rglob("*")]}
            assert len(found) == 7
            assert all(mode == (0o755 if p.is_dir() else 0o644) for p, mode in found.items())
        allocated = Path(allocate_upload_directory(StagingDirectory(str(staging))))
        assert stat.S_IMODE(allocated.stat().st_mode) == 0o755
    finally:
        os.umask(before)


@pytest.mark.parametrize("concurrent", [1, 3])
def test_what_is_neither_file_nor_directory_is_named_and_nothing_stays(source, staging, concurrent):
    os.mkfifo(source / "sub" / "pipe")
    with (
        pytest.raises(Refused, match=re.escape("sub/pipe")),
        stage(source, staging, concurrent=concurrent),
    ):
        pass
    assert list(staging.iterdir()) == []


class Interrupting(NoProgress):
    """Ctrl-C in the middle of the first file."""

    def advance(self, files, size):
        raise KeyboardInterrupt


@pytest.mark.parametrize("concurrent", [1, 3])
def test_an_interruption_leaves_nothing(source, staging, concurrent):
    with (
        pytest.raises(KeyboardInterrupt),
        stage(source, staging, concurrent=concurrent, progress=Interrupting()),
    ):
        pass
    assert list(staging.iterdir()) == []


def test_a_failure_afterwards_leaves_nothing(source, staging):
    with pytest.raises(Cancelled), stage(source, staging):
        raise Cancelled("later")
    assert list(staging.iterdir()) == []


@pytest.mark.parametrize("seconds", [0.0, 1.0])
def test_a_file_that_grows_meanwhile_is_refused(source, staging, monkeypatch, seconds):
    def read(descriptor, count):
        data = real(descriptor, count)
        with (source / "one").open("a") as file:
            file.write("more")
        return data

    real = os.read
    monkeypatch.setattr("gobbler.client.staged_file.os.read", read)
    clock = itertools.count(step=seconds)
    monkeypatch.setattr(staged_tree.time, "monotonic", lambda: next(clock))
    with (
        pytest.raises(Fault, match='one" changed while it was copied'),
        stage(source, staging),
    ):
        pass
    assert list(staging.iterdir()) == []


def test_progress_adds_up(source, staging):
    reported = [0, 0]

    class Counting(NoProgress):
        def expect(self, files, size):
            assert (files, size) == (2, 3_000_003)

        def advance(self, files, size):
            reported[0] += files
            reported[1] += size

    with stage(source, staging, progress=Counting()):
        assert reported == [2, 3_000_003]


def test_sources_that_make_no_sense(source, staging):
    for bad, error in (
        (source / "missing", NotThere),
        (source / "one", Refused),
        (staging, Refused),
        (staging.parent, Refused),
        (Path("/"), Refused),
    ):
        with pytest.raises(error, match=re.escape(str(bad))), stage(bad, staging):
            pass
    assert list(staging.iterdir()) == []


def test_no_staging(source, tmp_path):
    with pytest.raises(NotThere, match="staging directory"), stage(source, tmp_path / "no"):
        pass


def test_allocation(staging):
    first = allocate_upload_directory(StagingDirectory(str(staging)))
    second = allocate_upload_directory(StagingDirectory(str(staging)), create=False)
    assert first != second
    assert os.path.isdir(first)
    assert not os.path.exists(second)
    assert os.path.dirname(first) == os.path.dirname(second) == str(staging)


@pytest.mark.parametrize("place", ["the directory", "a directory above"])
def test_a_path_that_is_led_elsewhere_meanwhile_leads_no_file_there(source, staging, place):
    """Whoever gets a file of the user into a directory of his own can use it as a request."""
    trap = staging.parent / "trap"
    above = staging.parent / "above"
    above.symlink_to(staging if place == "the directory" else staging.parent)
    through = above if place == "the directory" else above / staging.name

    class Swapped(NoProgress):
        def expect(self, files, size):
            above.unlink()
            there = trap if place == "the directory" else trap / staging.name
            for name in os.listdir(staging):
                for path in ("sub/deep", "empty/below"):
                    (there / name / path).mkdir(parents=True)
            above.symlink_to(trap)

    with stage(source, through, progress=Swapped()) as at:
        assert [path for path in trap.rglob("*") if path.is_file()] == []
        assert (staging / at.name / "one").read_text() == "one"
        assert (staging / at.name / "sub" / "deep" / "two").stat().st_size == 3_000_000
    assert trap.exists()


@pytest.mark.parametrize("seconds", [0.0, 1.0])
def test_small_files_need_threads_only_where_each_takes_long(
    tmp_path, staging, monkeypatch, seconds
):
    (tmp_path / "few").mkdir()
    for name in ("a", "b", "c"):
        (tmp_path / "few" / name).write_text(name)
    left = []

    def for_each(task, items, concurrent):
        left.extend(items)
        real(task, items, concurrent)

    real = staged_tree.for_each
    monkeypatch.setattr(staged_tree, "for_each", for_each)
    clock = itertools.count(step=seconds)
    monkeypatch.setattr(staged_tree.time, "monotonic", lambda: next(clock))
    with stage(tmp_path / "few", staging, concurrent=4) as at:
        assert {path.name: path.read_text() for path in (staging / at.name).iterdir()} == {
            name: name for name in ("a", "b", "c")
        }
    assert len(left) == (2 if seconds else 0)


def many(tree: Path) -> dict[str, bytes]:
    """Make files of all sizes in directories of all sizes."""
    made = {}
    for number in range(300):
        directory = ("", "a", "a/b", "c" * 200)[number % 4]
        path = f"{directory}/{number}".lstrip("/")
        made[path] = bytes([number % 256]) * (number * 7 if number % 50 else number * 4000)
    for path, data in made.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_bytes(data)
    return made


@pytest.mark.parametrize("seconds", [0.0, 1.0])
def test_every_file_of_many_is_copied_and_hashed(tmp_path, staging, monkeypatch, seconds):
    (tmp_path / "many").mkdir()
    made = many(tmp_path / "many")
    clock = itertools.count(step=seconds)
    monkeypatch.setattr(staged_tree.time, "monotonic", lambda: next(clock))
    with (
        Checksums(2) as checksums,
        stage(tmp_path / "many", staging, concurrent=4, checksums=checksums) as at,
    ):
        copy = staging / at.name
        found = {str(path.relative_to(copy)) for path in copy.rglob("*") if path.is_file()}
        assert found == made.keys()
        for path, data in made.items():
            assert (copy / path).read_bytes() == data
        checksums.begin()
        assert checksums.result() == {
            path: (len(data), hashlib.md5(data).hexdigest()) for path, data in made.items()
        }


def test_small_files_are_hashed_at_once_where_memory_is_short(source, staging, monkeypatch):
    monkeypatch.setattr("gobbler.client.checksums.KEPT_BYTES", 2)
    with Checksums(1) as checksums, stage(source, staging, checksums=checksums):
        assert checksums._kept_bytes == 0
        assert checksums.result()["one"] == (3, hashlib.md5(b"one").hexdigest())


@pytest.mark.parametrize("seconds", [0.0, 1.0])
def test_a_directory_that_goes_away_meanwhile_is_named(source, staging, monkeypatch, seconds):
    """It takes the way of each file alone, which says what is wrong."""

    class Removing(NoProgress):
        def expect(self, files, size):
            (source / "one").rename(source / "moved")

    clock = itertools.count(step=seconds)
    monkeypatch.setattr(staged_tree.time, "monotonic", lambda: next(clock))
    with (
        pytest.raises(FileNotFoundError, match=re.escape(str(source / "one"))),
        stage(source, staging, progress=Removing()),
    ):
        pass
    assert list(staging.iterdir()) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("seconds", [0.0, 1.0])
def test_a_full_filesystem_is_said_to_be_full(source, staging, monkeypatch, number, seconds):
    def full(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("gobbler.client.staged_file.write_all", full)
    clock = itertools.count(step=seconds)
    monkeypatch.setattr(staged_tree.time, "monotonic", lambda: next(clock))
    (source / "sub" / "deep" / "two").unlink()
    with (
        pytest.raises(Fault, match=re.escape(str(staging))) as caught,
        stage(source, staging),
    ):
        pass
    assert caught.value.code is Code.DISK_FULL
    assert "gobbler staging clean" in caught.value.hint
    assert list(staging.iterdir()) == []
