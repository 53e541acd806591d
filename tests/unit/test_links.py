"""Link arithmetic: one hop, relative, and never out of bounds (protocol, section 2.2)."""

from __future__ import annotations

import itertools
import os
import posixpath
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gobbler.model.names import VersionKey
from gobbler.model.records import EMPTY_DIRECTORY, Entry, Link, Manifest, decode_manifest
from gobbler.rules.links import (
    OUTSIDE,
    InRegistry,
    InSource,
    InWhitelist,
    Locator,
    Nowhere,
    Places,
    Target,
    absolute_target,
    bare,
    below,
    link_problem,
    link_to,
    links_by_directory,
    locate,
    path_problem,
    relative_target,
    symlink_text,
    usage_of,
)

from .strategies import file_names, keys, links, manifests, paths, plain_entries, unpack_golden

PLACES = Places(source=("/st/src", "/alias/src"), registry=("/reg", "/real/reg"), whitelist=("/w",))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/st/src/a/b", InSource("a/b")),
        ("/alias/src/a", InSource("a")),
        ("/st/src2/a", OUTSIDE),
        ("/st/other", OUTSIDE),
        ("/st", OUTSIDE),
        ("/", OUTSIDE),
        ("/reg/p/a/1/f", InRegistry(VersionKey("p", "a", "1"), "f")),
        ("/real/reg/p/a/1/d/f", InRegistry(VersionKey("p", "a", "1"), "d/f")),
        ("/regal/p/a/1/f", OUTSIDE),
        ("/w/data/x", InWhitelist("/w", "data/x")),
        ("/w", OUTSIDE),
        ("/wide/x", OUTSIDE),
        ("/etc/passwd", OUTSIDE),
    ],
)
def test_a_target_is_taken_where_it_belongs(path: str, expected: Target) -> None:
    assert locate(path, PLACES) == expected


@pytest.mark.parametrize(
    "path",
    [
        "/st/src",
        "/reg",
        "/reg/p",
        "/reg/p/a",
        "/reg/p/a/1",
        "/reg/..LOCK",
        "/reg/p/..usage",
        "/reg/..incoming/j/tree/f",
        "/reg/p/a/1/..manifest",
        "/reg/p/a/1/d/..links",
    ],
)
def test_directories_and_internal_files_are_no_targets(path: str) -> None:
    assert isinstance(locate(path, PLACES), Nowhere)


def test_a_file_in_a_source_that_is_named_like_an_internal_one_is_left_to_the_plan() -> None:
    assert locate("/st/src/..hidden", PLACES) == InSource("..hidden")


steps = st.sampled_from(
    ["", ".", "..", "...", "..x", "st", "src", "reg", "real", "w", "p", "a", "1", "f", "a\\b"]
)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["", "d"]),
            st.builds(
                lambda start, inner: start + "/".join(inner),
                st.sampled_from(
                    [
                        "",
                        "/",
                        "//",
                        "/reg/",
                        "/reg/p/a/1/",
                        "/st/src/",
                        "../../reg/",
                        "d/../",
                        "../d/",
                    ]
                ),
                st.lists(steps, min_size=1, max_size=6),
            ),
        ),
        max_size=20,
    ),
    st.sampled_from(
        [
            ("/st/src", PLACES),
            ("/reg/p/a/1", PLACES),
            ("/reg/p/a/1", Places(("/reg/p/a/1",), ("/reg",), ("/reg/p/a/1/f", "/"))),
        ]
    ),
)
def test_without_links_to_directories_links_lead_where_their_texts_say(
    links: list[tuple[str, str]], where: tuple[str, Places]
) -> None:
    at, places = where
    locator = Locator(places, at, ["d", "p"], lambda path: absolute_target("/", path))
    for directory, text in links:
        target = absolute_target(f"{at}/{directory}", text)
        assert locator(directory, text) == locate(target, places)
        assert locator.path(directory, text) == target


@given(paths, paths)
def test_a_relative_target_leads_from_its_directory_to_the_target(with_path: str, to: str) -> None:
    text = relative_target(with_path, to)
    assert not text.startswith("/")
    assert posixpath.normpath(posixpath.join("/", posixpath.dirname(with_path), text)) == f"/{to}"


@given(keys, paths, links)
def test_a_symlink_leads_straight_to_the_real_file(key: VersionKey, path: str, link: Link) -> None:
    end = link.ancestor or link
    directory = posixpath.dirname(f"/reg/{key.file(path)}")
    found = absolute_target(directory, symlink_text(key, path, link))
    assert found == f"/reg/{end.key.file(end.path)}"
    assert locate(found, PLACES) == InRegistry(end.key, end.path)


@given(st.lists(st.tuples(keys, paths), min_size=2, max_size=6), plain_entries)
def test_chains_never_grow_past_one_hop(chain: list[tuple[VersionKey, str]], real: Entry) -> None:
    (first_key, first_path), *rest = chain
    manifest: Manifest = {first_path: real}
    key, path = first_key, first_path
    for next_key, next_path in rest:
        link = link_to(key, path, manifest)
        assert (link.key, link.path) == (key, path), "the parent is what was pointed at"
        assert link.end == Link.to(first_key, first_path), "and the end is the real file"
        assert link.ancestor is None or link.ancestor.ancestor is None
        manifest = {next_path: Entry(real.size, real.md5sum, link)}
        key, path = next_key, next_path


@given(links)
def test_a_bare_link_has_no_ancestor_and_is_its_own_end(link: Link) -> None:
    assert bare(link).ancestor is None
    assert bare(link).end == bare(link)
    assert bare(link).key == link.key


@given(links)
def test_valid_links_have_no_problem(link: Link) -> None:
    assert link_problem(link) is None


@pytest.mark.parametrize(
    "link",
    [
        Link("..", "a", "1", "f"),
        Link("p", "a/b", "1", "f"),
        Link("p", "a", "", "f"),
        Link("p", "a", "1", "../f"),
        Link("p", "a", "1", "d/../f"),
        Link("p", "a", "1", "/f"),
        Link("p", "a", "1", ""),
        Link("p", "a", "1", "d//f"),
        Link("p", "a", "1", "./f"),
        Link("p", "a", "1", "d/..links"),
        Link("p", "a", "1", "a\nb"),
        Link("p", "a", "1", "f", Link("p", "a", "..", "f")),
        Link("p", "a", "1", "f", Link("p", "a", "0", "f", Link("p", "a", "0", "f"))),
    ],
    ids=str,
)
def test_a_link_from_a_record_is_not_trusted_blindly(link: Link) -> None:
    assert link_problem(link)


@given(paths)
def test_valid_paths_have_no_problem_and_stay_below(path: str) -> None:
    assert path_problem(path) is None
    assert posixpath.normpath(f"/v/{path}") == f"/v/{path}"


@given(st.text(st.sampled_from("./ab"), max_size=8))
def test_a_path_without_a_problem_never_leaves_the_version(path: str) -> None:
    if path_problem(path) is None:
        assert posixpath.normpath(f"/v/{path}") == f"/v/{path}"
        assert path != ""


@given(paths, file_names)
def test_below_is_decided_by_whole_components(path: str, name: str) -> None:
    assert below(f"/r/{path}", "/r") == path
    assert below("/r", "/r") == ""
    assert below(f"/r{name}/{path}", "/r") is None
    assert below(f"/{path}", "/") == path


@given(manifests)
def test_links_by_directory_are_all_links_and_nothing_else(manifest: Manifest) -> None:
    found = links_by_directory(manifest)
    rebuilt = {f"{d}/{n}" if d else n: link for d, ls in found.items() for n, link in ls.items()}
    assert rebuilt == {path: e.link for path, e in manifest.items() if e.link is not None}
    assert all(found.values())


@given(manifests)
def test_linked_files_use_nothing(manifest: Manifest) -> None:
    linked = {path: entry for path, entry in manifest.items() if entry.link is not None}
    rest = {path: entry for path, entry in manifest.items() if path not in linked}
    assert usage_of(linked) == 0
    assert usage_of(manifest) == usage_of(rest) == sum(entry.size for entry in rest.values())
    assert usage_of({**manifest, "x" * 99: EMPTY_DIRECTORY}) == usage_of(manifest)


def test_the_links_that_go_made_are_those_that_we_would_make(tmp_path: Path) -> None:
    top = unpack_golden(tmp_path)
    count = 0
    for record in top.glob("*/*/*/..manifest"):
        key = VersionKey(*record.parent.relative_to(top).parts)
        manifest = decode_manifest(record.read_bytes(), str(record))
        for path, entry in manifest.items():
            if entry.link is not None:
                assert link_problem(entry.link) is None
                assert os.readlink(record.parent / path) == symlink_text(key, path, entry.link)
                assert (record.parent / path).is_file()
                count += 1
    assert count > 10


def test_targets_of_different_kinds_are_never_equal() -> None:
    key = VersionKey("p", "a", "1")
    targets: list[Target] = [
        InSource("a"),
        Nowhere("a"),
        InWhitelist("/a", "a"),
        InRegistry(key, "a"),
    ]
    for one, other in itertools.permutations(targets, 2):
        assert one != other
    assert len(set(targets)) == len(targets)
    assert InSource("a") == InSource("a")
    assert Nowhere("is elsewhere") != OUTSIDE
