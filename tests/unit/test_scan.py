"""What is found below a source (protocol, section 5.1)."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gobbler.errors import Cancelled, Refused
from gobbler.fs.open import closing, open_directory
from gobbler.model.progress import NeverCancelled
from gobbler.rules.upload_plan import Scan
from gobbler.transfer import scan as scanning
from gobbler.transfer import stat_pool
from gobbler.transfer.scan import LONGEST_PATH, OPEN_LEVELS, scan
from gobbler.transfer.stat_pool import Directory

from .strategies import file_names


@pytest.fixture
def tmp_path(removed_by_us: Path) -> Path:
    """For deep trees."""
    return removed_by_us


@pytest.fixture(params=["local", "slow"], autouse=True)
def _filesystem(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """All is found alike where each look seems to take long, so that threads look ahead."""
    if request.param == "slow":
        monkeypatch.setattr(stat_pool, "HIGH_LATENCY_SECONDS", -1.0)
        monkeypatch.setattr(stat_pool, "MEASURED_CALLS", 1)
        monkeypatch.setattr(stat_pool, "PART_ENTRIES", 3)


class After:
    """Cancels at the ``checks``-th check."""

    def __init__(self, checks: int) -> None:
        self._left = checks

    def check(self) -> None:
        self._left -= 1
        if self._left == 0:
            raise Cancelled("enough")


def look(path: Path, *, ignore_dot: bool = False, owner: int | None = None) -> Scan:
    before = len(os.listdir("/proc/self/fd"))
    with closing(open_directory(str(path))) as descriptor:
        found = scan(
            descriptor, ignore_dot=ignore_dot, owner=owner, cancel=NeverCancelled(), width=4
        )
    assert len(os.listdir("/proc/self/fd")) == before, "descriptors were left open"
    return found


def test_files_links_directories_and_empty_directories_are_distinguished(tmp_path: Path) -> None:
    (tmp_path / "d/e/empty").mkdir(parents=True)
    (tmp_path / "d/f").write_bytes(b"123")
    (tmp_path / "d/l").symlink_to("../anywhere at all")
    (tmp_path / "only-links").mkdir()
    (tmp_path / "only-links/l").symlink_to("x")
    found = look(tmp_path)
    assert found.files == {"d/f": 3}
    assert found.symlinks == {"d/l": "../anywhere at all", "only-links/l": "x"}
    assert found.directories == ["d", "d/e", "d/e/empty", "only-links"]
    assert found.empty == ["d/e/empty"]
    assert found.invalid == {}


def test_links_are_found_where_directories_do_not_report_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Directory.read
    monkeypatch.setattr(Directory, "read", lambda fd: read(fd)._replace(links=set()))
    for name in ("d/l", "k", "l"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).symlink_to("x")
    found = look(tmp_path)
    assert found.symlinks == {"d/l": "x", "k": "x", "l": "x"}


@pytest.mark.parametrize("slow", [False, True])
def test_where_it_takes_long_directories_are_asked_for_few_links_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slow: bool
) -> None:
    monkeypatch.setattr(stat_pool, "MEASURED_CALLS", 8)
    monkeypatch.setattr(stat_pool, "HIGH_LATENCY_SECONDS", -1.0 if slow else 60.0)
    for number in range(50):
        (tmp_path / str(number)).symlink_to("x")
    descriptor = os.open(tmp_path, os.O_RDONLY)
    found = Directory.read(descriptor)
    os.close(descriptor)
    assert (len(found.names), len(found.links)) == (50, 8 if slow else 50)


def test_a_link_that_is_swapped_for_a_file_meanwhile_is_odd(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Directory.read

    def swap(descriptor: int) -> Directory:
        found = read(descriptor)._replace(links={"l", "m"})
        (tmp_path / "l").unlink()
        (tmp_path / "l").write_bytes(b"")
        return found

    (tmp_path / "l").symlink_to("x")
    (tmp_path / "m").symlink_to("x")
    monkeypatch.setattr(Directory, "read", swap)
    found = look(tmp_path)
    assert found.invalid == {"l": "changed while it was being read"}
    assert found.symlinks == {"m": "x"}
    assert found.files == {}


@pytest.mark.parametrize("ignore_dot", [False, True])
def test_internal_names_are_left_out_and_hidden_ones_on_demand(
    tmp_path: Path, ignore_dot: bool
) -> None:
    for name in ("..internal", ".hidden", "f", "only-internal/..x", "only-hidden/.y", "..d/f"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = look(tmp_path, ignore_dot=ignore_dot)
    shown = {"f"} if ignore_dot else {"f", ".hidden", "only-hidden/.y"}
    assert set(found.files) == shown
    assert found.empty == (["only-hidden", "only-internal"] if ignore_dot else ["only-internal"])


def _listen(path: Path) -> None:
    directory = os.open(path.parent, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"/proc/self/fd/{directory}/{path.name}")
    os.close(directory)


@pytest.mark.parametrize(
    ("make", "words"),
    [(os.mkfifo, "is a FIFO"), (_listen, "is a socket")],
)
def test_what_can_not_be_published_is_odd(
    tmp_path: Path, make: Callable[[Path], object], words: str
) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/f").write_bytes(b"")
    make(tmp_path / "d/it")
    found = look(tmp_path)
    assert list(found.invalid) == ["d/it"]
    assert words in found.invalid["d/it"]
    assert set(found.files) == {"d/f"}


@pytest.mark.parametrize("name", [b"\xff", b"new\nline", b"\x7f", b"c1\xc2\x85"])
@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda path: os.symlink(b"x", path)])
def test_a_name_that_can_not_be_kept_is_odd(
    tmp_path: Path, make: Callable[[bytes], object], name: bytes
) -> None:
    make(os.path.join(os.fsencode(tmp_path), name))
    (odd,) = look(tmp_path).invalid.items()
    assert os.fsencode(odd[0]) == name
    assert "name" in odd[1]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_hard_link_to_the_file_of_somebody_else_is_odd(tmp_path: Path) -> None:
    for name, uid, links in (("mine", 54_321, 2), ("theirs", 0, 2), ("alone", 0, 1)):
        (tmp_path / name).write_bytes(b"")
        os.chown(tmp_path / name, uid, -1)
        if links == 2:
            os.link(tmp_path / name, tmp_path / f"{name}-too")
    assert set(look(tmp_path, owner=54_321).invalid) == {"theirs", "theirs-too"}
    assert set(look(tmp_path, owner=None).invalid) == set()


def deepen(top: Path, name: str, levels: int) -> None:
    """Make directories ``name`` in each other, deeper than a path can say."""
    current = os.open(top, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir(name, dir_fd=current)
        deeper = os.open(name, os.O_RDONLY, dir_fd=current)
        os.close(current)
        current = deeper
    os.close(current)


class Watched:
    """Notes how many descriptors are open at each check."""

    def __init__(self) -> None:
        self.most = 0

    def check(self) -> None:
        self.most = max(self.most, len(os.listdir("/proc/self/fd")))


def test_nesting_costs_neither_stack_nor_descriptors(tmp_path: Path) -> None:
    deepen(tmp_path, "d", 1800)
    for levels in (0, 1, 63, 64, 65, 900, 1799, 1800):  # what comes after a return from below
        (tmp_path / "/".join("d" * levels) / "e").write_bytes(b"")
        (tmp_path / "/".join("d" * levels) / "x/y").mkdir(parents=True)
    before = len(os.listdir("/proc/self/fd"))
    watched = Watched()
    with closing(open_directory(str(tmp_path))) as descriptor:
        found = scan(descriptor, ignore_dot=False, owner=None, cancel=watched, width=4)
    assert len(os.listdir("/proc/self/fd")) == before
    assert watched.most < before + 2 * OPEN_LEVELS + 10
    assert found.invalid == {}
    assert len(found.directories) == 1800 + 2 * 8
    assert len(found.files) == 8
    assert max(map(len, found.files)) == 1800 * 2 + 1


def test_what_is_deeper_than_a_path_can_say_is_odd_and_not_entered(tmp_path: Path) -> None:
    deepen(tmp_path, "d", 5000)
    found = look(tmp_path)
    (problem,) = found.invalid.values()
    assert str(LONGEST_PATH) in problem
    assert max(map(len, found.directories)) <= LONGEST_PATH


def test_a_path_that_the_registry_could_not_hold_is_odd(tmp_path: Path) -> None:
    deepen(tmp_path, "é" * 125, LONGEST_PATH // 250 + 1)
    (problem,) = look(tmp_path).invalid.values()
    assert str(LONGEST_PATH) in problem


def test_a_directory_that_is_moved_while_the_scan_is_deep_below_it_is_refused(
    tmp_path: Path,
) -> None:
    deepen(tmp_path, "d", 3 * OPEN_LEVELS)
    (tmp_path / "elsewhere").mkdir()

    class Moving:
        checks = 0

        def check(self) -> None:
            self.checks += 1
            if self.checks == 2 * OPEN_LEVELS:
                os.rename(tmp_path / "d/d/d", tmp_path / "elsewhere/d")

    before = len(os.listdir("/proc/self/fd"))
    with (
        closing(open_directory(str(tmp_path))) as descriptor,
        pytest.raises(Refused, match="changed while it was being read"),
    ):
        scan(descriptor, ignore_dot=False, owner=None, cancel=Moving(), width=4)
    assert len(os.listdir("/proc/self/fd")) == before


def test_it_can_be_given_up_at_every_directory(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    before = len(os.listdir("/proc/self/fd"))
    with closing(open_directory(str(tmp_path))) as descriptor, pytest.raises(Cancelled):
        scan(descriptor, ignore_dot=False, owner=None, cancel=After(3))
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("to", ["link", "file", "nothing"])
def test_a_directory_that_is_swapped_meanwhile_is_odd_and_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, to: str
) -> None:
    (tmp_path / "source/d").mkdir(parents=True)
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/f").write_bytes(b"secret")
    real = os.open

    def swap(path: str, flags: int, *rest: object, **options: object) -> int:
        if path == "d":
            os.rmdir(tmp_path / "source/d")
            if to == "link":
                os.symlink(tmp_path / "secret", tmp_path / "source/d")
            elif to == "file":
                (tmp_path / "source/d").write_bytes(b"")
        return real(path, flags, *rest, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(scanning.os, "open", swap)
    found = look(tmp_path / "source")
    assert set(found.invalid) == {"d"}
    assert found.files == {}


trees = st.recursive(
    st.sampled_from(["file", "link"]),
    lambda inner: st.dictionaries(file_names, inner, max_size=3),
    max_leaves=8,
).filter(lambda tree: isinstance(tree, dict))


def grow(path: Path, tree: object) -> None:
    if isinstance(tree, dict):
        path.mkdir()
        for name, inner in tree.items():
            grow(path / name, inner)
    elif tree == "file":
        path.write_bytes(b"x" * len(path.name))
    else:
        path.symlink_to("somewhere")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=trees)
def test_everything_is_found_once(
    tmp_path_factory: pytest.TempPathFactory, tree: dict[str, object]
) -> None:
    top = tmp_path_factory.mktemp("scan") / "source"
    grow(top, tree)
    found = look(top)
    paths = {str(p.relative_to(top)): p for p in top.rglob("*")}
    assert {*found.files, *found.symlinks, *found.directories} == set(paths)
    assert len(found.files) + len(found.symlinks) + len(found.directories) == len(paths)
    assert found.files == {p: len(paths[p].name) for p in found.files}
    assert set(found.empty) == {p for p in found.directories if not any(paths[p].iterdir())}
    for directory in found.directories:
        parent = directory.rpartition("/")[0]
        position = found.directories.index
        assert parent == "" or position(parent) < position(directory)


def test_many_directories_and_files_are_found_in_their_order(tmp_path: Path) -> None:
    wanted = sorted(f"d{i:02}/e{j}/f{k}" for i in range(40) for j in range(2) for k in range(3))
    for path in wanted:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(path.encode())
    found = look(tmp_path)
    assert found.files == {path: len(path) for path in wanted}
    assert list(found.files) == wanted
    assert found.directories == sorted(found.directories)


def test_giving_up_in_the_midst_leaves_no_directory_open(tmp_path: Path) -> None:
    for number in range(100):
        (tmp_path / f"d{number}/e").mkdir(parents=True)
    before = len(os.listdir("/proc/self/fd"))
    with closing(open_directory(str(tmp_path))) as descriptor, pytest.raises(Cancelled):
        scan(descriptor, ignore_dot=False, owner=None, cancel=After(50), width=4)
    assert len(os.listdir("/proc/self/fd")) == before
