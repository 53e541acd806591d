"""Which files a new one may be the same as (protocol, section 5.2)."""

from __future__ import annotations

from hypothesis import given

from gobbler.model.names import VersionKey
from gobbler.model.records import EMPTY_DIRECTORY, Entry, Link, Manifest
from gobbler.rules.dedup import VersionCandidates

from .strategies import manifests

KEY = VersionKey("p", "a", "2")
MD5, OTHER_MD5 = "0" * 32, "f" * 32
FIRST = Link("p", "a", "1", "old")

MANIFEST: Manifest = {
    "own": Entry(3, MD5),
    "same": Entry(3, MD5),
    "other": Entry(3, OTHER_MD5),
    "linked": Entry(5, MD5, FIRST),
    "chained": Entry(6, MD5, Link("q", "b", "1", "x", ancestor=FIRST)),
    "nothing": Entry(0, "d41d8cd98f00b204e9800998ecf8427e"),
    "empty": EMPTY_DIRECTORY,
}
TWINS = VersionCandidates.of(KEY, MANIFEST)


def test_the_file_at_the_same_path_is_a_candidate_if_the_size_is_the_same() -> None:
    assert TWINS.at_path("own", 3) == (MD5, Link("p", "a", "2", "own"))
    assert TWINS.at_path("own", 4) is None
    assert TWINS.at_path("absent", 3) is None


def test_an_empty_directory_is_the_candidate_of_nothing() -> None:
    assert TWINS.at_path("empty", 0) is None
    assert TWINS.with_contents([(0, "")]) == {}
    assert "empty" not in TWINS.of_size(0).values()


def test_an_empty_file_is_a_file() -> None:
    link = Link("p", "a", "2", "nothing")
    assert TWINS.at_path("nothing", 0) == (MANIFEST["nothing"].md5sum, link)
    assert TWINS.with_contents([(0, MANIFEST["nothing"].md5sum)]) == {
        (0, MANIFEST["nothing"].md5sum): link
    }


def test_files_are_found_by_size_and_checksum_wherever_they_stand() -> None:
    assert TWINS.of_size(3) == {MD5: "own", OTHER_MD5: "other"}
    assert TWINS.of_size(99) == {}
    assert TWINS.with_contents([(3, OTHER_MD5), (4, MD5), (99, MD5)]) == {
        (3, OTHER_MD5): Link("p", "a", "2", "other")
    }


def test_the_link_names_the_candidate_and_the_real_file_as_its_ancestor() -> None:
    links = TWINS.with_contents([(5, MD5), (6, MD5)])
    assert links[5, MD5] == Link("p", "a", "2", "linked", ancestor=FIRST)
    assert links[6, MD5] == Link("p", "a", "2", "chained", ancestor=FIRST)
    assert TWINS.at_path("chained", 6) == (MD5, links[6, MD5])


@given(manifests)
def test_every_nominee_has_the_size_and_the_checksum(manifest: Manifest) -> None:
    candidates = VersionCandidates.of(KEY, manifest)
    for path, entry in manifest.items():
        if entry.is_directory:
            continue
        content = (entry.size, entry.md5sum)
        link = candidates.with_contents([content])[content]
        nominee = manifest[link.path]
        assert (nominee.size, nominee.md5sum) == content
        found = candidates.at_path(path, entry.size)
        assert found is not None
        assert found[0] == entry.md5sum
