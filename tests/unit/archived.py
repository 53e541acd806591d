"""A version to be packed into an archive, and what may happen to it meanwhile."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gobbler.model.progress import NeverCancelled
from gobbler.service.archive import ArchiveContents, LinkMode
from gobbler.service.registry_files import RegistryFiles

VERSION = "p/a/1"


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """A registry, a whitelisted directory and a secret one, side by side."""
    for path in ("registry/p/a/1/d/f", "registry/p/a/0/old", "archive/d/f", "secret/f"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(f"content of {path}")
    version = tmp_path / "registry" / VERSION
    (version / "!first").write_text("")
    (version / "..manifest").write_text("{}")
    (version / "empty").mkdir()
    (tmp_path / "registry/p/..usage").write_text("{}")
    (tmp_path / "registry/..incoming/j").mkdir(parents=True)
    (tmp_path / "registry/..incoming/j/f").write_text("unfinished")
    return tmp_path


@pytest.fixture
def files(top: Path) -> Iterator[RegistryFiles]:
    found = RegistryFiles(f"{top}/registry", (f"{top}/archive",))
    yield found
    os.close(found.directory)


def packed(
    files: RegistryFiles, links: LinkMode = LinkMode.FILES, max_size: int | None = None
) -> bytes:
    made = ArchiveContents(files, VERSION, links, max_size, NeverCancelled())
    before = len(os.listdir("/proc/self/fd"))
    try:
        length = made.measure()
        data = b"".join(made.blocks())
    finally:
        made.close()
    assert len(os.listdir("/proc/self/fd")) == before
    assert len(data) == length
    return data


def unpacked(data: bytes) -> dict[str, object]:
    """Content of files, ``None`` for directories, the text of links after an arrow."""
    found: dict[str, object] = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive:
            assert (member.uid, member.gid, member.uname) == (0, 0, "")
            file = archive.extractfile(member) if member.isfile() else None
            content = None if file is None else file.read().decode()
            found[member.name] = f"-> {member.linkname}" if member.issym() else content
    return found


PLAIN = {
    "p/a/1": None,
    "p/a/1/..manifest": "{}",
    "p/a/1/!first": "",
    "p/a/1/d": None,
    "p/a/1/d/f": "content of registry/p/a/1/d/f",
    "p/a/1/empty": None,
}


def link(top: Path, to: str, name: str = "link") -> None:
    (top / "registry" / VERSION / name).symlink_to(to.format(top=top))


def gone(version: Path) -> None:
    version.rename(version.with_name("..gone"))


def without_a_file(version: Path) -> None:
    (version / "d/f").unlink()


def longer(version: Path) -> None:
    (version / "d/f").write_text("x" * 5000)


def shorter(version: Path) -> None:
    (version / "d/f").write_text("")


def other_content_of_a_directory(version: Path) -> None:
    (version / "d/new").write_text("")


def another_version(version: Path) -> None:
    gone(version)
    (version / "d").mkdir(parents=True)
    (version / "empty").mkdir()
    for name in ("..manifest", "!first", "d/f"):
        (version / name).write_bytes((version.with_name("..gone") / name).read_bytes())


CHANGES = (gone, without_a_file, longer, shorter, other_content_of_a_directory, another_version)
