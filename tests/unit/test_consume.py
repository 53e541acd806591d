"""The files of the source are removed once the version is safe (protocol, 5.3 and 9.3)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gobbler.fs.fingerprint import Fingerprint
from gobbler.registry.consume import detach_files, remove_sources, resume_consume
from gobbler.transfer.staged_source import StagedSource


class Bench:
    """A version, and the source that it was made from, in staging."""

    def __init__(self, top: Path) -> None:
        self.staging, self.path, self.version = top, top / "source", top / "version"
        for directory in (self.path / "d", self.version / "d"):
            directory.mkdir(parents=True)
        status = self.path.stat()
        self.source = StagedSource(str(top), "source", status.st_dev, status.st_ino, status.st_uid)

    def fingerprints(self) -> dict[str, Fingerprint]:
        files = [path for path in self.path.rglob("*") if path.is_file()]
        return {str(path.relative_to(self.path)): _stamp(path) for path in files}

    def adopt(self, path: str, content: bytes = b"content") -> None:
        """Put a file into the source, and link it into the version."""
        (self.path / path).write_bytes(content)
        os.link(self.path / path, self.version / path)


def _stamp(path: Path) -> Fingerprint:
    status = path.stat()
    return Fingerprint.of(status)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_files_go_and_directories_stay(bench: Bench) -> None:
    (bench.path / "f").write_bytes(b"x")
    (bench.path / "d/g").write_bytes(b"y")
    remove_sources(bench.source.name, bench.source.opened(), bench.fingerprints())
    assert sorted(p.name for p in bench.path.rglob("*")) == ["d"]


def test_a_file_that_has_changed_since_it_was_read_stays(bench: Bench) -> None:
    for name in ("touched", "rewritten", "exchanged", "same"):
        (bench.path / name).write_bytes(b"x")
    fingerprints = bench.fingerprints()
    os.utime(bench.path / "touched", (1, 1))
    (bench.path / "rewritten").write_bytes(b"longer")
    (bench.staging / "other").write_bytes(b"x")
    (bench.staging / "other").rename(bench.path / "exchanged")
    remove_sources(bench.source.name, bench.source.opened(), fingerprints)
    assert {p.name for p in bench.path.iterdir()} == {"d", "touched", "rewritten", "exchanged"}


@pytest.mark.parametrize("to", ["another directory", "link", "nothing"])
def test_a_source_that_was_replaced_is_left_alone(bench: Bench, to: str) -> None:
    (bench.path / "f").write_bytes(b"x")
    fingerprints = bench.fingerprints()
    aside = bench.path.rename(bench.staging / "aside")
    if to == "link":
        bench.path.symlink_to("aside")
    elif to == "another directory":
        bench.path.mkdir()
        os.link(aside / "f", bench.path / "f")
    remove_sources(bench.source.name, bench.source.opened(), fingerprints)
    assert (aside / "f").exists()
    assert to != "another directory" or (bench.path / "f").exists()


def test_no_link_in_the_source_is_followed(bench: Bench) -> None:
    (bench.path / "d/g").write_bytes(b"x")
    fingerprints = bench.fingerprints()
    (bench.path / "d").rename(bench.staging / "elsewhere")
    (bench.path / "d").symlink_to("../elsewhere")
    remove_sources(bench.source.name, bench.source.opened(), fingerprints)
    assert (bench.staging / "elsewhere/g").exists()


@pytest.mark.parametrize("name", ["f", "d/g", "x" * 255, "é" * 127, "日" * 85, "😀" * 63], ids=len)
def test_a_published_file_with_another_name_becomes_one_of_its_own(bench: Bench, name: str) -> None:
    bench.adopt(name)
    detach_files(str(bench.version), [name])
    assert not (bench.version / name).samefile(bench.path / name)
    assert (bench.version / name).read_bytes() == b"content"
    assert (bench.version / name).stat().st_mode & 0o777 == 0o644
    left = {p.name for p in (bench.version / name).parent.iterdir()} - {"d"}
    assert left == {Path(name).name}


def test_a_published_file_with_one_name_is_left_alone(bench: Bench) -> None:
    (bench.version / "f").write_bytes(b"x")
    before = (bench.version / "f").stat()
    detach_files(str(bench.version), ["f"])
    assert (bench.version / "f").stat() == before


def test_after_a_crash_the_other_names_go(bench: Bench) -> None:
    bench.adopt("f")
    bench.adopt("d/g")
    (bench.path / "own").write_bytes(b"not taken")
    resume_consume(str(bench.staging), "source", str(bench.version), ["f", "d/g"])
    assert {p.name for p in bench.path.rglob("*")} == {"d", "own"}
    assert (bench.version / "f").stat().st_nlink == 1


@pytest.mark.parametrize("to", ["gone", "moved", "link"])
def test_after_a_crash_files_whose_names_are_not_found_are_detached(bench: Bench, to: str) -> None:
    bench.adopt("f")
    if to == "moved":
        (bench.path / "f").rename(bench.staging / "kept")
    else:
        bench.path.rename(bench.staging / "kept")
    if to == "link":
        bench.path.symlink_to("kept")
    resume_consume(str(bench.staging), "source", str(bench.version), ["f"])
    assert (bench.version / "f").stat().st_nlink == 1
    assert (bench.version / "f").read_bytes() == b"content"
