"""The C program that does the least does it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from bench.limit import Limit, widths

CONTENTS = {"f": b"1", "d/g": b"", "d/e/large": bytes(range(256)) * 12_000}


@pytest.fixture(scope="module")
def limit(tmp_path_factory: pytest.TempPathFactory) -> Limit:
    try:
        return Limit(tmp_path_factory.mktemp("least"))
    except RuntimeError as error:
        pytest.skip(str(error))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return made(tmp_path / "source")


def made(top: Path) -> Path:
    for name, content in CONTENTS.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(content)
    return top


def contents(top: Path) -> dict[str, bytes]:
    return {str(p.relative_to(top)): p.read_bytes() for p in top.rglob("*") if p.is_file()}


@pytest.mark.parametrize("threads", [1, 3])
def test_it_copies(limit: Limit, source: Path, tmp_path: Path, threads: int) -> None:
    assert limit.seconds(threads, ["copy", str(source), str(tmp_path / "copy")]) > 0
    assert contents(tmp_path / "copy") == contents(source) == CONTENTS


@pytest.mark.parametrize("threads", [1, 3])
def test_it_moves(limit: Limit, source: Path, tmp_path: Path, threads: int) -> None:
    limit.seconds(threads, ["consume", str(source), str(tmp_path / "moved")])
    assert contents(tmp_path / "moved") == CONTENTS
    assert contents(source) == {}


def test_it_compares_and_links(limit: Limit, source: Path, tmp_path: Path) -> None:
    other = made(tmp_path / "other")
    limit.seconds(2, ["compare", str(source), str(tmp_path / "links"), str(other)])
    links = [path for path in (tmp_path / "links").rglob("*") if path.is_symlink()]
    assert {path.name for path in links} == {"f", "g", "large"}
    (other / "d/e/large").write_bytes(CONTENTS["d/e/large"][:-1] + b"x")
    with pytest.raises(subprocess.CalledProcessError):
        limit.seconds(2, ["compare", str(source), str(tmp_path / "again"), str(other)])


def test_it_makes_links_again(limit: Limit, tmp_path: Path) -> None:
    (tmp_path / "source/d").mkdir(parents=True)
    (tmp_path / "source/d/l").symlink_to("anywhere")
    limit.seconds(1, ["clone", str(tmp_path / "source"), str(tmp_path / "clone")])
    assert (tmp_path / "clone/d/l").readlink() == Path("anywhere")


def test_it_hashes_all_but_records(limit: Limit, source: Path) -> None:
    (source / "..manifest").symlink_to("nowhere")  # opened, it would be an error
    assert limit.seconds(1, ["hash", str(source)]) > 0
    (source / "manifest").symlink_to("nowhere")
    with pytest.raises(subprocess.CalledProcessError):
        limit.seconds(1, ["hash", str(source)])


def test_one_thread_is_always_tried() -> None:
    assert widths()[0] == 1


def test_without_a_compiler_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match="no C compiler"):
        Limit(tmp_path)
