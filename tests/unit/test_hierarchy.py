"""The tree that a manifest stands for."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gobbler.errors import Fault
from gobbler.model.records import EMPTY_DIRECTORY, Entry, Manifest, decode_manifest
from gobbler.rules.manifest import Hierarchy, manifest_problem, path_problem

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


components = st.text(st.sampled_from("ab.\n\0é /\ud800"), max_size=4) | st.sampled_from(
    ["..", "x" * 63, "x" * 64, "x" * 255, "x" * 256, "é" * 63, "é" * 127, "é" * 128]
)
odd_paths = st.lists(components, min_size=1, max_size=4).map("/".join)


@given(st.dictionaries(odd_paths, st.sampled_from([FILE, EMPTY_DIRECTORY]), max_size=5))
def test_paths_are_judged_together_as_each_alone(manifest: Manifest) -> None:
    above = {path[:end] for path in manifest for end, char in enumerate(path) if char == "/"}
    is_valid = all(path_problem(path) is None for path in manifest) and not any(
        manifest[path] is FILE for path in above & manifest.keys()
    )
    assert (manifest_problem(manifest) is None) == is_valid


@given(st.lists(st.integers(0, 40).map(lambda digits: "a" * digits), max_size=6))
def test_checksums_are_judged_together_as_each_alone(sums: list[str]) -> None:
    manifest = {str(number): {"size": 0, "md5sum": each} for number, each in enumerate(sums)}
    wrong = [number for number, each in enumerate(sums) if len(each) not in (0, 32)]
    if not wrong:
        assert len(decode_manifest(json.dumps(manifest).encode(), "m")) == len(sums)
        return
    with pytest.raises(Fault, match=re.escape(f'$["{wrong[0]}"].md5sum')):
        decode_manifest(json.dumps(manifest).encode(), "m")
