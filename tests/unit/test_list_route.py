"""The answers of ``/list`` (protocol, section 8)."""

from __future__ import annotations

import json
import math
import os
import subprocess
import tempfile
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gobbler.errors import Cancelled, GobblerError, Missing, Refused
from gobbler.fs.open import closing, open_directory
from gobbler.model.progress import CancelFlag, NeverCancelled
from gobbler.service import registry_list
from gobbler.service.registry_files import registry_path
from gobbler.service.registry_list import Listing


def list_directory(registry: str, path: str, *, recursive: bool) -> list[str]:
    with closing(open_directory(registry)) as opened:
        listing = Listing(opened, registry_path(path), NeverCancelled(), recursive=recursive)
        found: list[str] = json.loads(b"".join(listing.blocks()))
        return found


@pytest.fixture
def registry(tmp_path: Path) -> str:
    top = tmp_path / "registry"
    for path in ("p/a/1/d/f", "p/a/1/..manifest", "p/..usage", "..logs/x", "..incoming/j/tree/f"):
        (top / path).parent.mkdir(parents=True, exist_ok=True)
        (top / path).write_text("")
    (top / "p/a/1/empty/deeper").mkdir(parents=True)
    (top / "p/a/1/link").symlink_to("d/f")
    (top / "p/a/1/out").symlink_to("/etc")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/f").write_text("")
    (top / "p/a/1/sly").symlink_to(tmp_path / "secret")
    return str(top)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("", ["..logs/", "p/"]),
        (".", ["..logs/", "p/"]),
        ("p", ["..usage", "a/"]),
        ("p/", ["..usage", "a/"]),
        ("p//a/../a", ["1/"]),
        ("p/a/1", ["..manifest", "d/", "empty/", "link", "out", "sly"]),
        ("p/a/1/empty/deeper", []),
        ("..logs", ["x"]),
    ],
)
def test_entries_are_listed_with_a_slash_after_directories(
    registry: str, path: str, expected: list[str]
) -> None:
    assert list_directory(registry, path, recursive=False) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (
            "",
            [
                "..logs/x",
                "p/..usage",
                "p/a/1/..manifest",
                "p/a/1/d/f",
                "p/a/1/empty/deeper/",
                "p/a/1/link",
                "p/a/1/out",
                "p/a/1/sly",
            ],
        ),
        ("p/a/1/d", ["f"]),
        ("p/a/1/empty", ["deeper/"]),
        ("p/a/1/empty/deeper", []),
    ],
)
def test_every_file_below_is_listed_and_empty_directories(
    registry: str, path: str, expected: list[str]
) -> None:
    assert list_directory(registry, path, recursive=True) == expected


@pytest.mark.parametrize("recursive", [False, True])
@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("x", Missing),
        ("p/x", Missing),
        ("p/..usage/x", Missing),
        ("..incoming", Missing),
        ("..incoming/j", Missing),
        ("p/../..incoming/j", Missing),
        ("p/..usage", Refused),
        ("..", Refused),
        ("p/../..", Refused),
        ("../registry", Refused),
        ("/", Refused),
        ("/etc", Refused),
        ("//etc", Refused),
        ("a\0b", Refused),
        ("p/a/1/sly", Refused),
        ("p/a/1/out", Refused),
        ("p/a/1/out/ssh", Refused),
        ("p/a/1/link", Refused),
        ("x" * 300, Refused),
    ],
)
def test_what_can_not_be_listed_is_the_clients_mistake(
    registry: str, path: str, error: type[GobblerError], recursive: bool
) -> None:
    with pytest.raises(error):
        list_directory(registry, path, recursive=recursive)


@given(st.text(st.sampled_from("./ab\0"), max_size=12))
def test_a_path_never_leads_out_of_the_registry(path: str) -> None:
    try:
        plain = registry_path(path)
    except GobblerError:
        return
    assert not plain.startswith("/")
    assert os.path.normpath(f"/r/{plain}") in ("/r", f"/r/{plain}")


@pytest.fixture
def entering(monkeypatch: pytest.MonkeyPatch) -> dict[str, Callable[[], object]]:
    """What happens once, right before the directory of that path is opened."""
    events: dict[str, Callable[[], object]] = {}
    real = registry_list.open_beneath

    def enter(directory: int, path: str, flags: int) -> int:
        events.pop(path, lambda: None)()
        return real(directory, path, flags)

    monkeypatch.setattr(registry_list, "open_beneath", enter)
    return events


def test_a_version_that_changes_in_mid_walk_is_not_half_listed(
    registry: str, entering: dict[str, Callable[[], object]]
) -> None:
    entering["d"] = lambda: os.rename(f"{registry}/p/a/1/d", f"{registry}/p/a/1/e")
    found = list_directory(registry, "p", recursive=True)
    assert "a/1/e/f" in found
    assert not any(path.startswith("a/1/d") for path in found)


def test_a_version_that_is_removed_in_mid_walk_is_not_listed(
    registry: str, entering: dict[str, Callable[[], object]]
) -> None:
    """The service moves it out of sight first; its open directories still have their files."""
    entering["empty/deeper"] = lambda: os.rename(f"{registry}/p/a/1", f"{registry}/..incoming/x")
    assert list_directory(registry, "p", recursive=True) == ["..usage"]


def test_a_version_that_is_replaced_in_mid_walk_is_listed_as_it_is_then(
    registry: str, entering: dict[str, Callable[[], object]]
) -> None:
    def replace() -> None:
        os.rename(f"{registry}/p/a/1", f"{registry}/..incoming/x")
        os.makedirs(f"{registry}/p/a/1/new")

    entering["empty/deeper"] = replace
    assert list_directory(registry, "p", recursive=True) == ["..usage", "a/1/new/"]


@pytest.mark.parametrize("path", ["p", "p/a", "p/a/1", "p/a/1/empty"])
def test_a_directory_that_vanishes_itself_is_missing(
    registry: str, path: str, entering: dict[str, Callable[[], object]]
) -> None:
    for place in ("empty/deeper", "deeper"):
        entering[place] = lambda: (
            os.path.exists(f"{registry}/p") and os.rename(f"{registry}/p", f"{registry}/q")
        )
    with pytest.raises(Missing):
        list_directory(registry, path, recursive=True)


def test_a_version_that_never_stays_the_same_ends_the_walk(
    registry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    walks = []
    real = Listing._walk

    def walk(
        self: Listing, top: int, prefix: str, *, is_last: bool
    ) -> Generator[bytes, None, list[bytes]]:
        walks.append(prefix)
        os.rename(f"{registry}/p/a/1", f"{registry}/..incoming/{len(walks)}")
        os.makedirs(f"{registry}/p/a/1")
        return real(self, top, prefix, is_last=is_last)

    monkeypatch.setattr(Listing, "_walk", walk)
    assert list_directory(registry, "p", recursive=True) == ["..usage"]
    assert len(walks) == registry_list.ATTEMPTS


def test_the_list_of_a_tree_is_in_order_however_names_compare(registry: str) -> None:
    for name in ("b", "b-", "b/c", "b0", "B", "é", "b.d/x", "b-c/y"):
        path = Path(registry, "p/a/2", name + "_")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    for path in ("p/a/2", "p", ""):
        found = list_directory(registry, path, recursive=True)
        assert found == sorted(found)


def test_a_name_that_is_not_utf8_does_not_end_a_list(registry: str) -> None:
    os.mkdir(os.fsencode(f"{registry}/p/a/1/") + b"\xff")
    for recursive in (False, True):
        assert "\ufffd/" in list_directory(registry, "p/a/1", recursive=recursive)


def test_a_tree_of_many_levels_is_listed() -> None:
    """Not below ``tmp_path``, which pytest removes by recursion."""
    levels = 1500
    with tempfile.TemporaryDirectory() as top:
        try:
            above = os.open(top, os.O_RDONLY)
            for name in ("p", "a", "1", *["d"] * levels):
                os.mkdir(name, dir_fd=above)
                below = os.open(name, os.O_RDONLY, dir_fd=above)
                os.close(above)
                above = below
            os.close(above)
            assert list_directory(top, "p/a/1", recursive=True) == ["d/" * levels]
        finally:
            subprocess.run(["rm", "-rf", f"{top}/p"], check=True)


def test_a_long_list_comes_in_blocks_and_ends_when_nobody_wants_it(registry: str) -> None:
    for number in range(5000):
        Path(registry, f"p/a/1/d/{number:04d}").touch()
    with closing(open_directory(registry)) as opened:
        cancel = CancelFlag()
        listing = Listing(opened, "", cancel, recursive=True)
        listing.block_size = 1000
        blocks = list(listing.blocks())
        assert max(map(len, blocks)) <= 1100
        assert len(json.loads(b"".join(blocks))) > 5000
        cancel.cancel("enough")
        with pytest.raises(Cancelled):
            list(Listing(opened, "", cancel, recursive=True).blocks())


@pytest.mark.parametrize("recursive", [False, True])
@pytest.mark.parametrize("path", ["", "p", "p/a", "p/a/1"])
def test_a_list_pauses_once_when_it_turns_out_long(
    registry: str, path: str, recursive: bool
) -> None:
    with closing(open_directory(registry)) as opened:

        def listed(steps: float) -> list[bytes]:
            made = Listing(opened, path, NeverCancelled(), recursive=recursive, steps=steps)
            found = list(made.blocks())
            assert made.blocks() is made.blocks()
            return found

        (whole,) = listed(math.inf)
        assert listed(200) == [whole]
        for steps in range(10):
            assert listed(steps) == [b"", whole]


def test_a_list_that_pauses_closes_its_directories(registry: str) -> None:
    with closing(open_directory(registry)) as opened:
        before = os.listdir("/proc/self/fd")
        made = Listing(opened, "p/a/1", NeverCancelled(), recursive=True, steps=0)
        assert next(made.blocks()) == b""
        made.close()
        assert os.listdir("/proc/self/fd") == before


@given(st.lists(st.text(st.sampled_from('",\\ab/é\n'), min_size=1), min_size=1), st.text())
def test_names_are_encoded_as_json_whatever_they_are(names: list[str], prefix: str) -> None:
    made = registry_list._array(names, prefix)
    assert json.loads(b"[" + made + b"]") == [prefix + name for name in names]
