"""Valid names, and where everything stands (protocol, sections 1 and 2)."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gobbler.errors import Refused
from gobbler.model.names import (
    AssetKey,
    VersionKey,
    check_name,
    file_name_problem,
    has_internal,
    is_internal,
    name_problem,
    split_path,
)
from gobbler.model.records import Link
from gobbler.rules.links import relative_target, symlink_text

from .strategies import components, file_names, keys, paths


@pytest.mark.parametrize(
    "name",
    [
        "a",
        "1.0",
        ".hidden",
        "-",
        "a b",
        "x+y%20",
        "日本",
        "a..",
        "é",
        "~",
        "x" * 255,
        "é" * 127,
        "a.b..c",
    ],
)
def test_a_name_is_valid(name: str) -> None:
    assert name_problem(name) is None
    assert check_name("asset", name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "..x",
        "...",
        "a/b",
        "/",
        "a\\b",
        "\x00",
        "a\nb",
        "\x1b[2J",
        "\x7f",
        "\x85",
        "x" * 256,
        "é" * 128,
        "😀" * 64,
        "a\udcff",
        "\ud800",
    ],
)
@pytest.mark.parametrize("what", ["project", "asset", "version"])
def test_a_name_is_refused_and_the_reason_names_the_field(what: str, name: str) -> None:
    with pytest.raises(Refused) as caught:
        check_name(what, name)
    assert what in caught.value.reason
    assert caught.value.reason.isprintable()


@given(st.text())
def test_a_valid_name_is_one_component_of_a_path_on_disk(name: str) -> None:
    if name_problem(name) is None:
        assert name.encode().decode() == name
        assert 0 < len(name.encode()) <= 255
        assert not set(name) & set("/\\\0\n\r\t")
        assert name not in (".", "..")


@pytest.mark.parametrize("name", ["a b", "ü", "\u200b", "\u2028", "\u202e", "\ue000", "\\", "."])
def test_a_file_may_have_a_name_that_is_only_strange(name: str) -> None:
    assert file_name_problem(name) is None


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("a\tb", "control character"),
        ("\x9f", "control character"),
        ("latin-\udce4", "not valid UTF-8"),
        ("y" * 256, "longer than 255 bytes"),
        ("日" * 86, "longer than 255 bytes"),
    ],
)
def test_a_file_may_not_have_a_name_that_can_not_be_kept(name: str, problem: str) -> None:
    assert problem in (file_name_problem(name) or "")


@given(st.text(max_size=300))
def test_what_is_wrong_with_a_file_name_is_wrong_with_any_name(name: str) -> None:
    if file_name_problem(name) is not None:
        assert name_problem(name) is not None


@given(paths, file_names)
def test_a_path_is_internal_if_one_component_of_it_is(path: str, name: str) -> None:
    assert not has_internal(path)
    for internal in (f"..{name}/{path}", f"{path}/..{name}", f"{path}/..{name}/{path}", "..LOCK"):
        assert has_internal(internal)
        assert any(is_internal(part) for part in internal.split("/"))


@given(components, file_names)
def test_arbitrary_valid_names_are_valid(name: str, file_name: str) -> None:
    assert name_problem(name) is None
    assert file_name_problem(file_name) is None


@given(keys, paths)
def test_the_path_of_a_file_is_cut_into_its_version_and_the_rest(
    key: VersionKey, path: str
) -> None:
    assert split_path(key.file(path)) == (key, path)
    assert split_path(key.path) == (key, "")


@pytest.mark.parametrize("path", ["", "a", "a/b", "a//c/d", "../a/b/c", "a/./c/d", "a/b/..c/d"])
def test_a_path_without_three_valid_names_belongs_to_no_version(path: str) -> None:
    assert split_path(path) is None


@given(components, components, components)
def test_keys_of_one_version_are_equal_and_know_their_asset(
    project: str, asset: str, version: str
) -> None:
    key = VersionKey.checked(project, asset, version)
    assert key.of_asset == AssetKey.checked(project, asset)
    assert key.of_asset.version(version) == key
    assert key.path == str(key) == f"{project}/{asset}/{version}"
    assert key.summary == f"{key}/..summary"
    assert key.manifest == f"{key}/..manifest"
    assert key.of_asset.latest == f"{project}/{asset}/..latest"
    assert key.of_asset.permissions == f"{project}/{asset}/..permissions"


def test_the_reason_names_the_component_that_is_wrong() -> None:
    for names, what in ((("..", "b", "c"), "project"), (("a", "", "c"), "asset")):
        with pytest.raises(Refused, match=what):
            VersionKey.checked(*names)
    with pytest.raises(Refused, match="version"):
        VersionKey.checked("a", "b", ".")
    with pytest.raises(Refused, match="asset"):
        AssetKey.checked("a", "b/c")


def test_no_cache_holds_what_is_longer_than_a_name() -> None:
    tracemalloc.start()
    try:
        for number in range(10, 40):
            assert name_problem(f"{number}" * 10_000) == "is longer than 255 bytes"
            deep = f"{number}/" * 5_000
            assert relative_target(f"p/{deep}x", f"q/{deep}y").endswith(f"/q/{deep}y")
            at = VersionKey("p", "a", "1")
            assert symlink_text(at, f"{deep}x", Link("p", "a", "2", f"{deep}y")).endswith("/y")
        kept = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert kept < 500_000  # of nearly two megabytes
