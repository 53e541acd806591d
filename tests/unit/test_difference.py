"""What differs between two versions, by their manifests."""

from __future__ import annotations

from hypothesis import given

from gobbler.model.records import EMPTY_DIRECTORY, Entry, Link, Manifest
from gobbler.rules.manifest import Pair, difference

from .strategies import manifests

ONE, TWO = Entry(3, "1" * 32), Entry(3, "2" * 32)
LINKED = Entry(3, "1" * 32, Link("p", "a", "0", "x"))
RELINKED = Entry(3, "1" * 32, Link("p", "a", "1", "y", ancestor=Link("p", "a", "0", "x")))


def test_every_path_is_in_one_of_four() -> None:
    found = difference(
        {"gone": ONE, "other": ONE, "same": ONE, "longer": ONE},
        {"new": ONE, "other": TWO, "same": ONE, "longer": Entry(4, "1" * 32)},
    )
    assert found.added == {"new": ONE}
    assert found.removed == {"gone": ONE}
    assert found.changed == {
        "longer": Pair(ONE, Entry(4, "1" * 32)),
        "other": Pair(ONE, TWO),
    }
    assert found.same == {"same": Pair(ONE, ONE)}
    assert found


def test_a_link_is_the_same_as_what_it_links_to() -> None:
    found = difference({"x": ONE, "y": LINKED}, {"x": LINKED, "y": RELINKED})
    assert not found
    assert found.same["x"].is_relinked
    assert not found.same["y"].is_relinked


def test_a_directory_that_is_filled_or_emptied_is_not_new() -> None:
    filled: Manifest = {"d/e/f": ONE}
    emptied: Manifest = {"d/e": EMPTY_DIRECTORY}
    assert difference(emptied, filled).removed == {}
    assert difference(filled, emptied).added == {}
    assert difference({}, emptied).added == emptied
    assert difference(emptied, {"d": EMPTY_DIRECTORY}).removed == emptied
    assert difference({"d": ONE}, {"d": EMPTY_DIRECTORY}).changed


@given(manifests, manifests)
def test_it_is_complete_and_the_same_both_ways(one: Manifest, two: Manifest) -> None:
    there, back = difference(one, two), difference(two, one)
    assert (there.added, there.removed) == (back.removed, back.added)
    assert there.changed.keys() == back.changed.keys()
    reported = [*there.added, *there.removed, *there.changed, *there.same]
    assert len(reported) == len(set(reported))
    untold = (one.keys() | two.keys()) - set(reported)
    assert all((one.get(path) or two[path]).is_directory for path in untold)
    assert not difference(one, dict(one))
