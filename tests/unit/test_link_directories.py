"""Links that pass links to directories lead where the kernel says, not where their text does."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gobbler.client.source_links import moved_links
from gobbler.model.progress import NeverCancelled
from gobbler.rules.links import (
    OUTSIDE,
    InRegistry,
    InSource,
    InWhitelist,
    Nowhere,
    Places,
    Target,
    locate,
)
from gobbler.rules.upload_plan import Scan, locate_links
from gobbler.transfer.scan import real_path, scan_source

DIRECTORIES = ("src", "src/a", "src/a/b", "src/.hidden", "reg/p/x/1/d", "wl/a", "home", "away/a")

FILES = (
    "src/f",
    "src/a/f",
    "src/a/b/f",
    "reg/p/x/1/f",
    "reg/p/x/1/d/f",
    "wl/f",
    "wl/a/f",
    "away/f",
)

PLACES_OF_ALIASES = st.sampled_from(
    ["src/l", "src/.l", "src/..l", "src/a/l", "src/a/.l", "home/l", "wl/l", "wl/a/l", "away/l"]
)

STEPS = st.sampled_from(
    [
        "..",
        ".",
        "",
        "a",
        "b",
        "l",
        ".l",
        "..l",
        "f",
        "src",
        "home",
        "wl",
        "reg",
        "p/x/1",
        "d",
        "away",
    ]
)


@st.composite
def texts(draw: st.DrawFn, top: str = "{top}") -> str:
    """Targets of links; ``{top}`` stands for the directory of everything."""
    start = draw(
        st.sampled_from(["", "", "../", f"{top}/", f"{top}/src/", f"{top}/reg/", f"{top}/wl/"])
    )
    return start + "/".join(draw(st.lists(STEPS, min_size=1, max_size=5)))


def build(top: Path, aliases: dict[str, str], links: dict[str, str]) -> None:
    for directory in DIRECTORIES:
        (top / directory).mkdir(parents=True, exist_ok=True)
    for file in FILES:
        (top / file).write_text(file)
    for place, directory in aliases.items():
        (top / place).symlink_to(directory.format(top=top) or ".")
    for place, text in links.items():
        (top / "src" / place).symlink_to(text.format(top=top) or ".")


def scanned(source: Path) -> Scan:
    return scan_source(str(source), ignore_dot=True, owner=None, cancel=NeverCancelled())


def expected(source: Path, path: str, text: str, places: Places) -> Target:
    """The target by asking the kernel for the directory, and nobody for the rest."""
    head, slash, name = text.rpartition("/")
    if name in ("", ".", ".."):
        head, slash, name = text, "/", ""
    try:
        # A descriptor, because os.path.realpath() lets `file/..` pass.
        opened = os.open(source / Path(path).parent / (head + slash), os.O_PATH | os.O_DIRECTORY)
    except OSError:
        return Nowhere("does not exist")
    os.close(opened)
    real = os.path.realpath(source / Path(path).parent / (head + slash))
    return locate(os.path.join(real, name) if name else real, places)


def kind(target: Target) -> object:
    if isinstance(target, Nowhere):
        return Nowhere
    if isinstance(target, InWhitelist):
        return os.path.realpath(target.target)
    return target


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(PLACES_OF_ALIASES, texts() | st.just("{top}/away/a"), max_size=4),
    st.dictionaries(st.sampled_from(["1", "2", "a/3", "a/b/4"]), texts(), max_size=4),
)
def test_a_link_leads_where_the_kernel_says(aliases: dict[str, str], links: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory() as made:
        top = Path(os.path.realpath(made))
        build(top, aliases, links)
        places = Places((f"{top}/src",), (f"{top}/reg",), (f"{top}/wl",))
        scan = scanned(top / "src")
        found = locate_links(scan, f"{top}/src", places, real_path)
        for path, target in found.items():
            wanted = expected(top / "src", path, scan.symlinks[path], places)
            if isinstance(target, InRegistry) and isinstance(wanted, Nowhere):
                # The manifest of the version decides.
                assert not (top / "reg" / target.key.path / target.path).exists()
                continue
            assert kind(target) == kind(wanted), (path, scan.symlinks[path], aliases)
            if isinstance(target, InSource) and target.path in scan.files:
                assert os.path.samefile(top / "src" / path, top / "src" / target.path)
            if isinstance(target, InRegistry) and (top / "src" / path).is_file():
                content = (top / "reg" / target.key.path / target.path).read_text()
                assert content == (top / "src" / path).read_text()


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(PLACES_OF_ALIASES, texts(), max_size=4),
    st.dictionaries(st.sampled_from(["1", "2", "a/3", "a/b/4"]), texts(), max_size=4),
)
def test_a_copied_link_leads_to_the_same_file(
    aliases: dict[str, str], links: dict[str, str]
) -> None:
    with tempfile.TemporaryDirectory() as made:
        top = Path(os.path.realpath(made))
        build(top, aliases, links)
        scan = scanned(top / "src")
        moved = moved_links(scan, f"{top}/src", f"{top}/src")
        copy = top / "staging" / "copy"
        for directory in ("", *scan.directories):
            (copy / directory).mkdir(parents=True)
        for path in scan.files:
            os.link(top / "src" / path, copy / path)
        for path, text in moved.items():
            (copy / path).symlink_to(text)
        for path in moved:
            original = top / "src" / path
            target = os.path.realpath(original)
            if not original.is_file() or "/." in target or target.startswith(f"{top}/staging"):
                continue  # left out of the copy, or nothing to compare
            assert os.path.samefile(original, copy / path), (path, scan.symlinks[path], moved[path])


def test_a_link_back_through_a_link_to_a_directory_does_not_name_another_file(
    tmp_path: Path,
) -> None:
    build(tmp_path, {"src/.l": "a/b"}, {"1": ".l/../f"})
    places = Places((f"{tmp_path}/src",), (), ())
    scan = scanned(tmp_path / "src")
    assert locate_links(scan, f"{tmp_path}/src", places, real_path) == {"1": InSource("a/f")}
    assert moved_links(scan, f"{tmp_path}/src", f"{tmp_path}/src") == {"1": "a/f"}


def test_a_link_by_the_name_of_a_linked_home_is_in_the_source(tmp_path: Path) -> None:
    build(tmp_path, {}, {"a/3": "{top}/linked/src/f"})
    (tmp_path / "linked").symlink_to(".")
    places = Places((f"{tmp_path}/src",), (), ())
    scan = scanned(tmp_path / "src")
    assert locate_links(scan, f"{tmp_path}/src", places, real_path) == {"a/3": InSource("f")}
    assert moved_links(scan, f"{tmp_path}/src", f"{tmp_path}/linked/src") == {"a/3": "../f"}


def test_a_whitelisted_directory_keeps_the_name_that_it_is_known_by(tmp_path: Path) -> None:
    build(tmp_path, {"wl/l": "a"}, {"1": "{top}/known/a/f", "2": "{top}/known/l/f"})
    (tmp_path / "known").symlink_to("wl")
    places = Places((f"{tmp_path}/src",), (), (f"{tmp_path}/known", f"{tmp_path}/wl"))
    found = locate_links(scanned(tmp_path / "src"), f"{tmp_path}/src", places, real_path)
    assert found == {
        "1": InWhitelist(f"{tmp_path}/known", "a/f"),
        "2": InWhitelist(f"{tmp_path}/wl", "a/f"),
    }


@pytest.mark.parametrize("text", ["f/../a/f", "f/.", "f/", "loop/f", "gone/../f"])
def test_a_target_that_the_kernel_does_not_find_is_nowhere(tmp_path: Path, text: str) -> None:
    build(tmp_path, {"src/loop": "loop"}, {"1": text})
    places = Places((f"{tmp_path}/src",), (), ())
    found = locate_links(scanned(tmp_path / "src"), f"{tmp_path}/src", places, real_path)
    assert isinstance(found["1"], Nowhere)


@pytest.mark.parametrize("root_first", [True, False])
def test_a_target_in_the_root_is_no_file_of_the_source(tmp_path: Path, root_first: bool) -> None:
    source = tmp_path / "src"
    source.mkdir()
    (source / "passwd").write_text("mine")
    texts = {"a": "/passwd", "b": "passwd"} if root_first else {"a": "passwd", "b": "/passwd"}
    for name, text in texts.items():
        (source / name).symlink_to(text)
    scan = scan_source(str(source), ignore_dot=False, owner=None, cancel=NeverCancelled())
    places = Places(source=(str(source),), registry=(), whitelist=())
    found = locate_links(scan, str(source), places, real_path)
    assert {texts[name]: target for name, target in found.items()} == {
        "passwd": InSource("passwd"),
        "/passwd": OUTSIDE,
    }
