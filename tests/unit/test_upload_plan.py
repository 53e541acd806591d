"""What becomes of each entry of a source (protocol, section 5.1)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gobbler.errors import Refused
from gobbler.model.names import VersionKey
from gobbler.model.records import EMPTY_DIRECTORY, Entry, Link, Manifest
from gobbler.rules.links import InRegistry, InSource, InWhitelist, Nowhere, Target
from gobbler.rules.upload_plan import (
    Plan,
    PublishedVersion,
    Scan,
    complete,
    linked_versions,
    make_plan,
)

KEY = VersionKey("p", "a", "2")
OLD, GONE = VersionKey("p", "a", "1"), VersionKey("p", "a", "0")
PROBATION = VersionKey("p", "b", "1")
MD5 = "0" * 32
REAL = Link("q", "x", "1", "real")

VERSIONS = {
    OLD: PublishedVersion(
        {"f": Entry(7, MD5), "linked": Entry(8, MD5, REAL), "empty": EMPTY_DIRECTORY},
        on_probation=False,
    ),
    PROBATION: PublishedVersion({"f": Entry(7, MD5)}, on_probation=True),
    GONE: None,
    KEY: None,
}


def scan_of(
    links: dict[str, str] | None = None,
    files: tuple[str, ...] = (),
    directories: tuple[str, ...] = (),
    invalid: dict[str, str] | None = None,
) -> Scan:
    return Scan(dict.fromkeys(files, 1), links or {}, list(directories), [], invalid or {})


def local_plan(links: dict[str, str], *files: str, directories: tuple[str, ...] = ()) -> Plan:
    """The plan of a source in which each of ``links`` leads to another path of it."""
    targets: dict[str, Target] = {path: InSource(to) for path, to in links.items()}
    return make_plan(KEY, scan_of(links, files, directories), targets, {})


def test_files_are_copied_and_directories_made() -> None:
    scan = Scan({"d/f": 3}, {}, ["d", "e"], ["e"], {})
    plan = make_plan(KEY, scan, {}, {})
    assert plan == Plan(["d", "e"], {"d/f": 3}, {}, {"e": EMPTY_DIRECTORY}, [])


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (InRegistry(OLD, "f"), Entry(7, MD5, Link.to(OLD, "f"))),
        (InRegistry(OLD, "linked"), Entry(8, MD5, Link.to(OLD, "linked", ancestor=REAL))),
    ],
)
def test_a_link_into_the_registry_takes_size_checksum_and_ancestor_from_there(
    target: InRegistry, expected: Entry
) -> None:
    plan = make_plan(KEY, scan_of({"l": "text"}), {"l": target}, VERSIONS)
    assert plan.known == {"l": expected}


def test_a_link_below_a_whitelisted_directory_is_kept() -> None:
    plan = make_plan(KEY, scan_of({"l": "/w/x"}), {"l": InWhitelist("/w", "x")}, {})
    assert plan.kept == {"l": InWhitelist("/w", "x")}


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        (InRegistry(KEY, "f"), "in the version that is being uploaded"),
        (InRegistry(GONE, "f"), "version that does not exist"),
        (InRegistry(PROBATION, "f"), "version on probation"),
        (InRegistry(OLD, "g"), "is not a file of"),
        (InRegistry(OLD, "f/g"), "is not a file of"),
        (InRegistry(OLD, "empty"), "is a directory"),
        (Nowhere("is somewhere else"), "is somewhere else"),
        (InSource("absent"), "does not exist in the source"),
        (InSource("d"), "is a directory"),
        (InSource("l"), "leads back to the link itself"),
        (InSource("..internal"), "does not exist in the source"),
    ],
)
def test_any_other_link_is_refused_and_the_reason_names_it_and_its_target(
    target: Target, problem: str
) -> None:
    scan = scan_of({"l": "the/text"}, directories=("d",))
    with pytest.raises(Refused) as caught:
        make_plan(KEY, scan, {"l": target}, VERSIONS)
    for words in ('"l"', '"the/text"', problem):
        assert words in caught.value.reason


def test_all_that_is_wrong_is_counted_and_some_of_it_reported() -> None:
    links = {f"l{i}": f"gone{i}" for i in range(9)}
    with pytest.raises(Refused) as caught:
        local_plan(links)
    assert '"l0"' in caught.value.reason
    assert "and 6 more" in caught.value.reason


def test_what_is_odd_in_a_source_is_refused_by_name() -> None:
    with pytest.raises(Refused, match=r'"d/pipe" is a FIFO'):
        make_plan(KEY, scan_of(invalid={"d/pipe": "is a FIFO"}), {}, {})


@pytest.mark.parametrize("length", [1, 2, 3, 500])
def test_cycles_are_refused(length: int) -> None:
    links = {f"l{i}": f"l{(i + 1) % length}" for i in range(length)}
    with pytest.raises(Refused, match="leads back to the link itself"):
        local_plan(links)


def test_a_link_into_a_cycle_is_refused() -> None:
    with pytest.raises(Refused, match='"in"'):
        local_plan({"in": "l0", "l0": "l1", "l1": "l0"}, "f")


def test_a_link_to_a_refused_link_is_refused() -> None:
    targets: dict[str, Target] = {"a": InSource("b"), "b": Nowhere("is outside")}
    with pytest.raises(Refused) as caught:
        make_plan(KEY, scan_of({"a": "b", "b": "/x"}), targets, {})
    assert '"a"' in caught.value.reason
    assert '"b"' in caught.value.reason


def test_a_long_chain_is_no_problem() -> None:
    links = {f"l{i:05}": f"l{i + 1:05}" for i in range(5000)}
    plan = local_plan(links, "l05000")
    manifest = complete(KEY, plan, {"l05000": Entry(1, MD5)})
    assert {e.link.end for p, e in manifest.items() if e.link is not None} == {
        Link.to(KEY, "l05000")
    }
    assert manifest["l00000"].link == Link.to(KEY, "l00001", Link.to(KEY, "l05000"))


def test_only_versions_that_are_linked_to_are_looked_up() -> None:
    targets: dict[str, Target] = {
        "a": InRegistry(OLD, "f"),
        "b": InRegistry(OLD, "g"),
        "c": InSource("f"),
        "d": Nowhere("x"),
    }
    assert linked_versions(targets) == {OLD}


@st.composite
def forests(draw: st.DrawFn) -> dict[str, str]:
    """Links by name, each to a file (``f``) or to a link drawn before, names in any order."""
    names = draw(st.permutations([f"l{i}" for i in range(draw(st.integers(0, 12)))]))
    return {name: draw(st.sampled_from(["f0", "f1", *names[:i]])) for i, name in enumerate(names)}


@given(forests())
def test_every_local_link_stands_after_the_one_that_it_leads_to(links: dict[str, str]) -> None:
    plan = local_plan(links, "f0", "f1")
    order = [path for path, _ in plan.local]
    assert sorted(order) == sorted(links)
    assert dict(plan.local) == links
    for path, target in plan.local:
        if target in links:
            assert order.index(target) < order.index(path)


@given(forests())
def test_every_local_link_gets_the_entry_of_the_file_at_its_end(links: dict[str, str]) -> None:
    files: Manifest = {"f0": Entry(10, MD5), "f1": Entry(11, "1" * 32, REAL)}
    manifest = complete(KEY, local_plan(links, "f0", "f1"), files)
    assert list(manifest) == sorted(manifest)
    for path, target in links.items():
        end = path
        while end in links:
            end = links[end]
        entry, link = manifest[path], manifest[path].link
        assert (entry.size, entry.md5sum) == (files[end].size, files[end].md5sum)
        assert link is not None
        assert (link.key, link.path) == (KEY, target)
        assert link.end == (REAL if end == "f1" else Link.to(KEY, "f0"))
