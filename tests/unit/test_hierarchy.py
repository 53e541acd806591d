"""The tree that a manifest stands for."""

from __future__ import annotations

from hypothesis import given

from gobbler.model.records import EMPTY_DIRECTORY, Entry, Manifest
from gobbler.rules.manifest import Hierarchy

from .strategies import manifests

FILE = Entry(3, "0" * 32)


def test_directories_are_those_of_files_and_the_empty_ones() -> None:
    tree = Hierarchy({"a/b/c": FILE, "a/d": FILE, "e/f": EMPTY_DIRECTORY, "g": FILE})
    assert tree.children("") == {"a": None, "e": None, "g": FILE}
    assert tree.children("a") == {"b": None, "d": FILE}
    assert tree.children("a/b") == {"c": FILE}
    assert tree.children("e") == {"f": None}
    assert tree.children("e/f") == {}
    assert tree.children("g") is None
    assert tree.children("no") is None
    assert dict(tree.files("a")) == {"a/b/c": FILE, "a/d": FILE}
    assert dict(tree.files("no")) == {}
    assert Hierarchy({}).children("") == {}


def test_a_file_below_a_file_hides_it() -> None:
    for manifest in ({"a": FILE, "a/b": FILE}, {"a/b": FILE, "a": FILE}):
        assert Hierarchy(manifest).children("") == {"a": None}


def test_directories_may_be_deep() -> None:
    path = "/".join("d" for _ in range(5000))
    assert dict(Hierarchy({path: FILE}).files()) == {path: FILE}


@given(manifests)
def test_every_file_is_found_where_it_is(manifest: Manifest) -> None:
    tree = Hierarchy(manifest)
    hidden = {path for path in manifest if any(other.startswith(path + "/") for other in manifest)}
    for path, entry in manifest.items():
        parent, _, name = path.rpartition("/")
        children = tree.children(parent)
        assert children is not None
        if entry.is_directory or path in hidden:
            assert children[name] is None
            assert tree.children(path) is not None
        else:
            assert children[name] == entry
    wanted = {p: e for p, e in manifest.items() if not e.is_directory and p not in hidden}
    assert dict(tree.files()) == wanted
