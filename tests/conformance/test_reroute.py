"""``reroute_links``: the example of the protocol, section 6, requests and answers."""

from __future__ import annotations

import pytest

from .addresses import naming, project_of
from .checks import check_valid, latest_of, set_dates, unchanged
from .rerouting import check_that_nothing_is_lost, copied, is_link, moved, reroute, text_of
from .service import Service, Symlink, link, linked, plain

CONTENT = b"content"


@pytest.fixture
def asset(service: Service, project: str) -> str:
    """Version 1 holds a file, 2 links to it and 3 to that, each beside a file of its own."""
    asset = f"{project}/asset"
    for version in ("1", "2", "3"):
        service.upload(f"{asset}/{version}", {"d/f": CONTENT, "own": version.encode()})
    return asset


class TestTheExample:
    def test_is_reported_with_all_that_changes(self, service: Service, asset: str) -> None:
        doomed = f"{asset}/1/d/f"
        assert reroute(service, naming(f"{asset}/1")) == [
            copied(f"{asset}/2/d/f", doomed, len(CONTENT)),
            moved(f"{asset}/3/d/f", doomed),
        ]

    def test_copies_the_file(self, service: Service, asset: str) -> None:
        reroute(service, naming(f"{asset}/1"))
        file = service.registry / asset / "2/d/f"
        assert not file.is_symlink()
        assert file.read_bytes() == CONTENT
        assert oct(file.stat().st_mode & 0o7777) == oct(0o644)
        assert service.read(f"{asset}/2/..manifest")["d/f"] == plain(CONTENT)
        assert not (service.registry / asset / "2/d/..links").exists()

    def test_leads_the_other_link_to_the_copy(self, service: Service, asset: str) -> None:
        reroute(service, naming(f"{asset}/1"))
        expected = link(f"{asset}/2/d/f")
        assert service.read(f"{asset}/3/..manifest")["d/f"] == linked(CONTENT, expected)
        assert service.read(f"{asset}/3/d/..links") == {"f": expected}
        assert text_of(service, f"{asset}/3/d/f") == "../../2/d/f"

    def test_counts_the_copy(self, service: Service, project: str, asset: str) -> None:
        before = service.read(f"{project}/..usage")["total"]
        reroute(service, naming(f"{asset}/1"))
        assert service.read(f"{project}/..usage") == {"total": before + len(CONTENT)}

    def test_leaves_everything_else_alone(self, service: Service, project: str, asset: str) -> None:
        before = service.snapshot(project)
        reroute(service, naming(f"{asset}/1"))
        after = service.snapshot(project)
        changed = {path for path in before if after.get(path) != before[path]}
        assert changed == {
            f"{project}/..usage",
            *(f"{asset}/2/{name}" for name in ("d/f", "d/..links", "..manifest")),
            *(f"{asset}/3/{name}" for name in ("d/f", "d/..links", "..manifest")),
        }
        assert set(after) <= set(before)
        assert latest_of(service, asset) == "3"

    def test_loses_nothing(self, service: Service, project: str, asset: str) -> None:
        doomed = naming(f"{asset}/1")
        reroute(service, doomed)
        check_that_nothing_is_lost(service, [project], doomed)
        for version in ("2", "3"):
            assert service.fetch(f"{asset}/{version}/d/f").content == CONTENT

    def test_is_done_once(self, service: Service, project: str, asset: str) -> None:
        reroute(service, naming(f"{asset}/1"))
        with unchanged(service, project):
            assert reroute(service, naming(f"{asset}/1")) == []


class TestADryRun:
    def test_reports_the_same_and_changes_nothing(
        self, service: Service, project: str, asset: str
    ) -> None:
        with unchanged(service, project):
            reported = reroute(service, naming(f"{asset}/1"), dry_run=True)
        assert reported
        assert reroute(service, naming(f"{asset}/1"), dry_run=False) == reported

    def test_can_be_followed_by_another(self, service: Service, asset: str) -> None:
        first, second = (reroute(service, naming(f"{asset}/2"), dry_run=True) for _ in range(2))
        assert first == second == [moved(f"{asset}/3/d/f", f"{asset}/2/d/f")]

    def test_does_not_ask_for_null(self, service: Service, asset: str) -> None:
        assert reroute(service, naming(f"{asset}/1"), dry_run=None)
        assert not is_link(service, f"{asset}/2/d/f")


class TestWhatIsToBeDeleted:
    def test_may_be_nothing(self, service: Service, project: str, asset: str) -> None:
        with unchanged(service, project):
            assert reroute(service) == []

    def test_may_be_what_nothing_links_to(self, service: Service, project: str, asset: str) -> None:
        with unchanged(service, project):
            assert reroute(service, naming(f"{asset}/3")) == []

    def test_may_be_a_project_without_versions(self, service: Service, asset: str) -> None:
        empty = service.new_project()
        assert reroute(service, naming(empty)) == []

    @pytest.mark.parametrize("levels", [1, 2])
    def test_may_be_an_asset_or_a_project(self, service: Service, asset: str, levels: int) -> None:
        other = service.new_project()
        for version in ("1", "3"):
            target = service.registry / asset / version / "d/f"
            service.upload(f"{other}/x/{version}", {"l": Symlink(target)})
        doomed = naming("/".join(asset.split("/")[:levels]))
        assert reroute(service, doomed) == [
            copied(f"{other}/x/1/l", f"{asset}/1/d/f", len(CONTENT)),
            copied(f"{other}/x/3/l", f"{asset}/3/d/f", len(CONTENT)),
        ]
        check_that_nothing_is_lost(service, [other], doomed)

    def test_may_overlap_and_be_named_twice(self, service: Service, asset: str) -> None:
        one, two = naming(f"{asset}/1"), naming(f"{asset}/2")
        assert reroute(service, two, one, one, naming(f"{asset}/2")) == [
            copied(f"{asset}/3/d/f", f"{asset}/2/d/f", len(CONTENT)),
        ]
        whole = naming(asset)
        assert reroute(service, whole, one, naming(project_of(asset)), dry_run=True) == []

    def test_is_not_changed_itself(self, service: Service, asset: str) -> None:
        registry = service.registry / asset
        before = {path: path.lstat() for path in (registry / "2").rglob("*")}
        reroute(service, naming(f"{asset}/1"), naming(f"{asset}/2"))
        assert {path: path.lstat() for path in (registry / "2").rglob("*")} == before
        assert text_of(service, f"{asset}/2/d/f") == "../../1/d/f"

    def test_may_be_on_probation(self, service: Service, project: str, asset: str) -> None:
        service.upload(f"{asset}/beta", {"d/f": CONTENT, "b": b"b"}, on_probation=True)
        with unchanged(service, project):
            assert reroute(service, naming(f"{asset}/beta")) == []


def test_links_of_versions_on_probation_are_rerouted_too(
    service: Service, project: str, asset: str
) -> None:
    service.upload(f"{asset}/beta", {"d/f": CONTENT}, on_probation=True)
    doomed = [naming(f"{asset}/{version}") for version in ("1", "2", "3")]
    reported = reroute(service, *doomed)
    assert reported == [copied(f"{asset}/beta/d/f", f"{asset}/3/d/f", len(CONTENT))]
    check_that_nothing_is_lost(service, [project], *doomed)
    assert service.read(f"{asset}/beta/..summary")["on_probation"] is True


def test_nothing_is_logged(service: Service, project: str, asset: str) -> None:
    before = service.logs(project)
    reroute(service, naming(f"{asset}/1"))
    assert service.logs(project) == before


def test_odd_names_are_no_trouble(service: Service) -> None:
    project = f"ü {service.unique()} %2F+"
    service.succeed("create_project", {"project": project})
    for version in ("1 ?", "2 #"):
        service.upload(f"{project}/日本/{version}", {"d d/a+b %.txt": CONTENT})
    doomed = naming(f"{project}/日本/1 ?")
    changed = f"{project}/日本/2 #/d d/a+b %.txt"
    assert reroute(service, doomed) == [
        copied(changed, changed.replace("2 #", "1 ?"), len(CONTENT))
    ]
    check_that_nothing_is_lost(service, [project], doomed)


def test_a_new_version_can_be_linked_to_the_rerouted_ones(
    service: Service, project: str, asset: str
) -> None:
    set_dates(service, asset, "1", "2", "3")
    reroute(service, naming(f"{asset}/1"))
    service.succeed("delete_version", naming(f"{asset}/1"))
    manifest = service.upload(f"{asset}/4", {"again": CONTENT})
    assert manifest["again"]["link"] == link(f"{asset}/3/d/f", f"{asset}/2/d/f")
    check_valid(service, project)
