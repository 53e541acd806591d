"""What is in an archive, which links are followed for it, and how it breaks off."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from gobbler.errors import Missing
from gobbler.model.progress import NeverCancelled
from gobbler.service import archive
from gobbler.service.archive import END, ArchiveContents, LinkMode
from gobbler.service.registry_files import RegistryFiles

from .archived import (
    CHANGES,
    PLAIN,
    VERSION,
    another_version,
    files,
    gone,
    link,
    other_content_of_a_directory,
    packed,
    top,
    unpacked,
    without_a_file,
)

__all__ = ["files", "top"]


def test_everything_is_in_it_and_the_records_come_first(files: RegistryFiles) -> None:
    found = unpacked(packed(files))
    assert found == PLAIN
    assert list(found)[:3] == ["p/a/1", "p/a/1/..manifest", "p/a/1/!first"]


@pytest.mark.parametrize(
    ("to", "content", "text"),
    [
        ("d/f", "content of registry/p/a/1/d/f", "-> d/f"),
        ("../0/old", "content of registry/p/a/0/old", "-> ../0/old"),
        ("{top}/registry/p/a/0/old", "content of registry/p/a/0/old", "-> ../0/old"),
        ("{top}/archive/d/f", "content of archive/d/f", "content of archive/d/f"),
    ],
)
def test_links_are_files_or_links(
    files: RegistryFiles, top: Path, to: str, content: str, text: str
) -> None:
    link(top, to)
    assert unpacked(packed(files)) == {**PLAIN, "p/a/1/link": content}
    assert unpacked(packed(files, LinkMode.LINKS)) == {**PLAIN, "p/a/1/link": text}


@pytest.mark.parametrize("links", LinkMode)
@pytest.mark.parametrize(
    "to",
    [
        "{top}/secret/f",
        "../../../../secret/f",
        "/etc/passwd",
        "/proc/self/environ",
        "/dev/zero",
        "/",
        "d",
        "nothing",
        "link",
        "../../..usage",
        "{top}/registry/..incoming/j/f",
        "{top}/archive",
        "{top}/archive/d",
        "{top}/archive/out",
        "{top}/archive/../secret/f",
    ],
)
def test_what_fetch_would_not_serve_is_reported_before_anything_is_sent(
    files: RegistryFiles, top: Path, to: str, links: LinkMode
) -> None:
    (top / "archive/out").symlink_to(top / "secret/f")
    link(top, to)
    with pytest.raises(Missing) as caught:
        packed(files, links)
    assert "p/a/1/link" in caught.value.reason
    assert "secret" not in caught.value.reason


def test_a_fifo_blocks_nothing(files: RegistryFiles, top: Path) -> None:
    os.mkfifo(top / "registry/p/a/1/fifo")
    with pytest.raises(Missing, match=r"p/a/1/fifo.* is a FIFO"):
        packed(files)
    (top / "registry/p/a/1/fifo").unlink()
    os.mkfifo(top / "archive/fifo")
    link(top, "{top}/archive/fifo")
    with pytest.raises(Missing, match="FIFO"):
        packed(files)


def test_directories_that_are_links_are_not_entered(files: RegistryFiles, top: Path) -> None:
    for name in ("p/linked", "p/a/2"):
        (top / "registry" / name).symlink_to(top / "secret")
        with pytest.raises(Missing):
            ArchiveContents(files, name, LinkMode.FILES, None, NeverCancelled()).measure()


def test_large_files_are_left_out_on_request(files: RegistryFiles, top: Path) -> None:
    link(top, "../0/old")
    found = unpacked(packed(files, max_size=2))
    assert found == {k: v for k, v in PLAIN.items() if v is None or len(v) <= 2}


def test_a_file_larger_than_a_part(files: RegistryFiles, top: Path) -> None:
    for size in (archive.READ_SIZE - 1, archive.READ_SIZE, archive.READ_SIZE * 2 + 100):
        (top / "registry/p/a/1/large").write_bytes(b"x" * size)
        assert unpacked(packed(files)) == {**PLAIN, "p/a/1/large": "x" * size}


def test_many_files_are_sent_in_few_parts(files: RegistryFiles, top: Path) -> None:
    for i in range(1500):
        (top / f"registry/p/a/1/d/{i}").write_bytes(b"x" * 2000)
    made = ArchiveContents(files, VERSION, LinkMode.FILES, None, NeverCancelled())
    made.measure()
    blocks = list(made.blocks())
    made.close()
    assert len(blocks) < 8
    assert max(len(block) for block in blocks) < 4 * archive.READ_SIZE


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("parts", [0, 1])
def test_a_version_that_changes_has_no_whole_archive(
    files: RegistryFiles, top: Path, change: Any, parts: int
) -> None:
    (top / "registry/p/a/1/!first").write_bytes(b"x" * 2 * archive.READ_SIZE)
    made = ArchiveContents(files, VERSION, LinkMode.FILES, None, NeverCancelled())
    length = made.measure()
    blocks = made.blocks()
    got = b"".join(next(blocks) for _ in range(parts))
    change(top / "registry" / VERSION)
    try:
        for block in blocks:
            got += block
    except (Missing, archive.Fault):
        pass
    else:
        pytest.fail("an archive that looks whole")
    made.close()
    assert len(got) < length


def test_what_was_not_measured_is_the_same(files: RegistryFiles, top: Path) -> None:
    (top / "registry/p/a/1/!first").write_bytes(b"x" * 2 * archive.READ_SIZE)
    whole = packed(files)
    made = ArchiveContents(files, VERSION, LinkMode.FILES, None, NeverCancelled())
    assert b"".join(made.blocks()) == whole
    made.close()


@pytest.mark.parametrize("change", [gone, another_version])
def test_what_was_not_measured_has_no_end_either_if_it_changes(
    files: RegistryFiles, top: Path, change: Any
) -> None:
    (top / "registry/p/a/1/!first").write_bytes(b"x" * 2 * archive.READ_SIZE)
    made = ArchiveContents(files, VERSION, LinkMode.FILES, None, NeverCancelled())
    blocks = made.blocks()
    got = [next(blocks)]
    change(top / "registry" / VERSION)
    with pytest.raises((Missing, archive.Fault)):
        got.extend(blocks)
    made.close()
    assert not b"".join(got).endswith(END)


@pytest.mark.parametrize("change", [gone, without_a_file, other_content_of_a_directory])
def test_what_changes_after_all_was_read_is_noticed(
    files: RegistryFiles, top: Path, change: Any
) -> None:
    made = ArchiveContents(files, VERSION, LinkMode.FILES, None, NeverCancelled())
    length = made.measure()
    blocks = made.blocks()
    got = 0
    while got < length - len(END):
        got += len(next(blocks))
    change(top / "registry" / VERSION)
    with pytest.raises((Missing, archive.Fault)):
        next(blocks)
    made.close()
