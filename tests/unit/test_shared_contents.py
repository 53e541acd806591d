"""Which versions belong together: by links, and by content."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gobbler.model.names import VersionKey
from gobbler.model.records import EMPTY_DIRECTORY, Entry, Link, Manifest
from gobbler.rules.dedup import Shared, contents_of, shared
from gobbler.rules.links import versions_linked

from .registries import KEYS, Registries, registries, stored

KEY = VersionKey("p", "a", "1")
MD5 = "0" * 32


@given(registries(), st.sets(st.sampled_from(KEYS)))
def test_a_version_is_linked_if_a_link_names_it_as_parent_or_ancestor(
    made: Registries, doomed: set[VersionKey]
) -> None:
    for manifest in made.values():
        links = [entry.link for entry in manifest.values() if entry.link is not None]
        named = [link.key in doomed or link.end.key in doomed for link in links]
        assert bool(versions_linked(manifest) & doomed) == any(named)


def test_contents_are_reported_once_and_whether_links_alone_have_them() -> None:
    link = Link("p", "a", "1", "x")
    manifest: Manifest = {
        "linked": Entry(3, MD5, link),
        "stored": Entry(3, MD5),
        "again": Entry(3, MD5, link),
        "other": Entry(4, MD5, link),
        "directory": EMPTY_DIRECTORY,
    }
    assert contents_of(manifest) == {(3, MD5): False, (4, MD5): True}


def test_what_is_shared_is_counted_but_for_empty_files() -> None:
    empty = stored(b"").md5sum
    other = {(3, MD5): False, (4, MD5): True, (5, MD5): False, (0, empty): False}
    own = [(3, MD5), (4, MD5), (0, empty), (6, MD5)]
    assert shared(own, KEY, other) == Shared("p/a/1", files=2, size=7, stored=3)
    assert shared([(0, empty)], KEY, other).files == 0
