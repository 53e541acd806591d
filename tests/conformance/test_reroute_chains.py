"""``reroute_links`` through chains of links: the first parent that survives (section 6)."""

from __future__ import annotations

import itertools

import pytest

from .addresses import naming, project_of
from .conftest import OwnService
from .rerouting import check_that_nothing_is_lost, copied, is_link, moved, reroute, text_of
from .service import Service, Symlink, link, linked, plain

CONTENT = b"content"


def make_chain(service: Service, asset: str, length: int) -> None:
    """Version 1 holds the file; each of the others links to the one before it."""
    for version in range(1, length + 1):
        service.upload(f"{asset}/{version}", {"f": CONTENT, "own": b"%d" % version})


def check_chain(service: Service, asset: str, length: int, doomed: set[int]) -> None:
    """Reroute and see that each survivor leads to the nearest one before it."""
    reported = reroute(service, *(naming(f"{asset}/{version}") for version in sorted(doomed)))
    survivors = [version for version in range(1, length + 1) if version not in doomed]
    expected = []
    for parent, version in zip([None, *survivors], survivors, strict=False):
        entry = service.read(f"{asset}/{version}/..manifest")["f"]
        place = f"{asset}/{version}/f"
        if parent is None:
            assert entry == plain(CONTENT)
            assert not is_link(service, place)
            if version != 1:
                expected.append(copied(place, f"{asset}/{version - 1}/f", len(CONTENT)))
            continue
        first = survivors[0]
        ancestor = None if parent == first else f"{asset}/{first}/f"
        assert entry == linked(CONTENT, link(f"{asset}/{parent}/f", ancestor))
        assert text_of(service, place) == f"../{first}/f"
        if version - 1 in doomed:
            expected.append(moved(place, f"{asset}/{version - 1}/f"))
        elif 1 in doomed:
            expected.append(moved(place, f"{asset}/1/f"))
    assert reported == sorted(expected, key=lambda change: change["path"])


@pytest.mark.parametrize(
    "doomed",
    [set(some) for count in range(5) for some in itertools.combinations(range(1, 5), count)],
    ids=lambda some: "-".join(map(str, sorted(some))) or "none",
)
def test_every_way_through_a_short_chain(service: Service, project: str, doomed: set[int]) -> None:
    asset = f"{project}/asset"
    make_chain(service, asset, 4)
    check_chain(service, asset, 4, doomed)
    gone = [naming(f"{asset}/{version}") for version in doomed]
    check_that_nothing_is_lost(service, [project], *gone)


@pytest.mark.parametrize(
    "doomed",
    [
        pytest.param(set(range(1, 40)), id="all but the last"),
        pytest.param(set(range(2, 41)), id="all but the first"),
        pytest.param(set(range(1, 41, 2)), id="every other one"),
        pytest.param(set(range(5, 36)), id="the middle"),
    ],
)
def test_a_long_chain(service: Service, project: str, doomed: set[int]) -> None:
    asset = f"{project}/asset"
    make_chain(service, asset, 40)
    check_chain(service, asset, 40, doomed)
    gone = [naming(f"{asset}/{version}") for version in doomed]
    check_that_nothing_is_lost(service, [project], *gone)


def test_rerouting_step_by_step_loses_nothing(service: Service, project: str) -> None:
    asset = f"{project}/asset"
    make_chain(service, asset, 5)
    for version in ("2", "1", "4", "3"):
        doomed = naming(f"{asset}/{version}")
        reroute(service, doomed)
        check_that_nothing_is_lost(service, [project], doomed)
    assert service.read(f"{asset}/5/..manifest")["f"] == plain(CONTENT)


class TestAcrossProjects:
    @pytest.fixture
    def projects(self, service: Service) -> list[str]:
        """Each but the first links to the one before it."""
        projects = [service.new_project() for _ in range(4)]
        for i, project in enumerate(projects):
            before = service.registry / projects[i - 1] / "asset/1/f"
            service.upload(f"{project}/asset/1", {"f": Symlink(before) if i else CONTENT})
        return projects

    def test_each_project_pays_for_its_own_copies(
        self, service: Service, projects: list[str]
    ) -> None:
        one, two, three, four = projects
        assert reroute(service, naming(one)) == sorted(
            [
                copied(f"{two}/asset/1/f", f"{one}/asset/1/f", len(CONTENT)),
                moved(f"{three}/asset/1/f", f"{one}/asset/1/f"),
                moved(f"{four}/asset/1/f", f"{one}/asset/1/f"),
            ],
            key=lambda change: str(change["path"]),
        )
        usage = {name: service.read(f"{name}/..usage")["total"] for name in projects}
        assert usage == {one: len(CONTENT), two: len(CONTENT), three: 0, four: 0}
        assert text_of(service, f"{four}/asset/1/f") == f"../../../{two}/asset/1/f"
        check_that_nothing_is_lost(service, [two, three, four], naming(one))

    def test_whole_projects_can_be_skipped(self, service: Service, projects: list[str]) -> None:
        one, two, three, four = projects
        assert reroute(service, naming(two), naming(three)) == [
            moved(f"{four}/asset/1/f", f"{three}/asset/1/f")
        ]
        manifest = service.read(f"{four}/asset/1/..manifest")
        assert manifest["f"] == linked(CONTENT, link(f"{one}/asset/1/f"))
        check_that_nothing_is_lost(service, [one, four], naming(two), naming(three))

    def test_projects_that_have_nothing_to_do_with_it_stay_as_they_are(
        self, service: Service, projects: list[str]
    ) -> None:
        other = service.new_project()
        make_chain(service, f"{other}/asset", 2)
        before = service.snapshot(other)
        reroute(service, naming(projects[0]))
        assert service.snapshot(other) == before


class TestLocalLinks:
    @pytest.fixture
    def asset(self, service: Service, project: str) -> str:
        """Version 2 links to 1, and has local links to that link."""
        asset = f"{project}/asset"
        service.upload(f"{asset}/1", {"f": CONTENT})
        tree = {"f": CONTENT, "near": Symlink("f"), "d/nearer": Symlink("../near")}
        service.upload(f"{asset}/2", {**tree, "own": b"own", "d/own": Symlink("../own")})
        return asset

    def test_lead_to_the_copy(self, service: Service, project: str, asset: str) -> None:
        doomed = f"{asset}/1/f"
        assert reroute(service, naming(f"{asset}/1")) == [
            moved(f"{asset}/2/d/nearer", doomed),
            copied(f"{asset}/2/f", doomed, len(CONTENT)),
            moved(f"{asset}/2/near", doomed),
        ]
        manifest = service.read(f"{asset}/2/..manifest")
        assert manifest["f"] == plain(CONTENT)
        assert manifest["near"] == linked(CONTENT, link(f"{asset}/2/f"))
        assert manifest["d/nearer"] == linked(CONTENT, link(f"{asset}/2/near", f"{asset}/2/f"))
        assert text_of(service, f"{asset}/2/near") == "f"
        assert text_of(service, f"{asset}/2/d/nearer") == "../f"
        assert service.read(f"{asset}/2/..links") == {"near": manifest["near"]["link"]}
        check_that_nothing_is_lost(service, [project], naming(f"{asset}/1"))

    def test_of_a_doomed_version_are_followed(
        self, service: Service, project: str, asset: str
    ) -> None:
        target = service.registry / asset / "2/d/nearer"
        service.upload(f"{asset}/3", {"l": Symlink(target), "o": Symlink(target.parent / "own")})
        assert reroute(service, naming(f"{asset}/2")) == [
            moved(f"{asset}/3/l", f"{asset}/2/d/nearer"),
            copied(f"{asset}/3/o", f"{asset}/2/d/own", 3),
        ]
        manifest = service.read(f"{asset}/3/..manifest")
        assert manifest == {"l": linked(CONTENT, link(f"{asset}/1/f")), "o": plain(b"own")}
        check_that_nothing_is_lost(service, [project], naming(f"{asset}/2"))


def test_an_ancestor_alone_may_be_doomed(service: Service, project: str) -> None:
    asset = f"{project}/asset"
    make_chain(service, asset, 4)
    reported = reroute(service, naming(f"{asset}/1"))
    assert moved(f"{asset}/4/f", f"{asset}/1/f") in reported
    assert service.read(f"{asset}/4/..manifest")["f"]["link"] == link(
        f"{asset}/3/f", f"{asset}/2/f"
    )


def test_a_parent_alone_may_be_doomed(service: Service, project: str) -> None:
    asset = f"{project}/asset"
    make_chain(service, asset, 3)
    text = text_of(service, f"{asset}/3/f")
    assert reroute(service, naming(f"{asset}/2")) == [moved(f"{asset}/3/f", f"{asset}/2/f")]
    assert service.read(f"{asset}/3/..links") == {"f": link(f"{asset}/1/f")}
    assert text_of(service, f"{asset}/3/f") == text


def test_two_links_without_a_survivor_are_two_copies(service: Service, project: str) -> None:
    asset = f"{project}/asset"
    service.upload(f"{asset}/1", {"f": CONTENT})
    target = Symlink(service.registry / asset / "1/f")
    service.upload(f"{project}/other/1", {"x": target, "d/y": target})
    assert [change["copy"] for change in reroute(service, naming(asset))] == [True, True]
    for path in ("x", "d/y"):
        assert (service.registry / project / "other/1" / path).read_bytes() == CONTENT
        assert not is_link(service, f"{project}/other/1/{path}")
    check_that_nothing_is_lost(service, [project], naming(asset))


def test_what_was_kept_as_a_link_out_of_the_registry_survives(own: OwnService) -> None:
    service = own.service
    asset = f"{service.new_project()}/asset"
    target = own.whitelisted / service.unique()
    target.write_bytes(CONTENT)
    service.upload(f"{asset}/1", {"kept": Symlink(target)})
    service.upload(f"{asset}/2", {"l": Symlink(service.registry / asset / "1/kept")})
    doomed = naming(f"{asset}/1")
    assert reroute(service, doomed) == [copied(f"{asset}/2/l", f"{asset}/1/kept", len(CONTENT))]
    assert service.read(f"{asset}/2/..manifest") == {"l": plain(CONTENT)}
    check_that_nothing_is_lost(service, [project_of(asset)], doomed)
    assert service.fetch(f"{asset}/2/l").content == CONTENT
    assert not is_link(service, f"{asset}/2/l")


@pytest.mark.beyond
def test_what_was_kept_as_a_link_and_has_vanished_is_named(own: OwnService) -> None:
    service = own.service
    asset = f"{service.new_project()}/asset"
    target = own.whitelisted / service.unique()
    target.write_bytes(CONTENT)
    service.upload(f"{asset}/1", {"kept": Symlink(target)})
    service.upload(f"{asset}/2", {"l": Symlink(service.registry / asset / "1/kept")})
    target.unlink()
    request = {"to_delete": [naming(f"{asset}/1")]}
    service.refuse("reroute_links", request, "1/kept", "No such file", status=400)
    target.write_bytes(b"other")
    service.refuse("reroute_links", request, "1/kept", status=400)
