"""A registry that the Go service 0.5.0 wrote is validated, reindexed, rerouted, deleted from."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from .addresses import naming
from .checks import check_usage, check_valid, latest_of, unchanged, versions_of
from .conftest import OwnService
from .golden_copy import (
    ARCHIVED,
    ARCHIVED_CONTENT,
    DROP_BOX,
    REPORT,
    STATIONS,
    continued_in,
)
from .rerouting import check_that_nothing_is_lost, copied, moved, reroute
from .service import Service, Symlink, link, linked

PROJECTS = ("weather", "Open Data ü", "empty")

VERSIONS = [
    *(f"{STATIONS}/{version}" for version in ("1.0", "1.1", "1.2", "2.0-beta", "2.0-rc")),
    f"{REPORT}/first",
    f"{DROP_BOX}/v 1",
]


@pytest.fixture(scope="module")
def archived() -> Iterator[None]:
    """The file outside of the registry that one link leads to."""
    if ARCHIVED.exists():
        if ARCHIVED.read_bytes() != ARCHIVED_CONTENT:
            pytest.skip(f"{ARCHIVED} is something else")
        yield
        return
    if os.getuid() != 0:
        pytest.skip(f"only root can make {ARCHIVED}")
    made = not ARCHIVED.parent.exists()
    ARCHIVED.parent.mkdir(exist_ok=True)
    ARCHIVED.write_bytes(ARCHIVED_CONTENT)
    yield
    ARCHIVED.unlink()
    if made:
        ARCHIVED.parent.rmdir()


@pytest.fixture
def golden(own: OwnService, archived: None, tmp_path: Path) -> Iterator[Service]:
    """Our service on a copy, with the whitelist that it was written with."""
    (tmp_path / "whitelist").write_text(f"{ARCHIVED.parent}\n")
    with continued_in(tmp_path / "golden", whitelist=tmp_path / "whitelist") as client:
        yield client


def test_every_version_of_it_is_valid(golden: Service) -> None:
    assert sorted(at for project in PROJECTS for at in versions_of(golden, project)) == sorted(
        VERSIONS
    )
    for project in PROJECTS:
        with unchanged(golden, project):
            check_valid(golden, project)


def test_without_the_archive_only_the_link_to_it_is_wrong(own: OwnService, tmp_path: Path) -> None:
    with continued_in(tmp_path / "golden") as client:
        for at in VERSIONS:
            if at.startswith(REPORT):
                client.refuse("validate_version", naming(at), "data/ext")
                answer = client.submit("validate_version", naming(at)).json()
                assert len(answer["problems"]) == 1
            else:
                client.succeed("validate_version", naming(at))


def test_reindexing_leaves_its_records_byte_for_byte(golden: Service) -> None:
    for project in PROJECTS:
        before = golden.snapshot(project)
        for at in versions_of(golden, project):
            golden.succeed("reindex_version", naming(at))
        after = golden.snapshot(project)
        del before["..logs"], after["..logs"]
        assert after == before


def test_refreshing_finds_what_it_recorded(golden: Service) -> None:
    for project in PROJECTS:
        recorded = golden.read(f"{project}/..usage")["total"]
        assert golden.succeed("refresh_usage", naming(project))["total"] == recorded
        assert golden.read(f"{project}/..usage") == {"total": recorded}
    for asset in (STATIONS, REPORT, DROP_BOX):
        latest = latest_of(golden, asset)
        assert golden.succeed("refresh_latest", naming(asset))["version"] == latest


def test_rerouting_around_its_first_version_loses_nothing(golden: Service) -> None:
    doomed = naming(f"{STATIONS}/1.0")
    reported = reroute(golden, doomed, dry_run=True)
    assert reroute(golden, doomed) == reported
    assert copied(f"{STATIONS}/1.1/2024/feb.csv", f"{STATIONS}/1.0/2024/feb.csv", 4) in reported
    assert moved(f"{REPORT}/first/data/feb", f"{STATIONS}/1.0/2024/feb.csv") in reported
    manifest = golden.read(f"{REPORT}/first/..manifest")
    assert manifest["data/feb"]["link"] == link(f"{STATIONS}/1.1/2024/feb.csv")
    assert golden.fetch(f"{REPORT}/first/data/ext").content == ARCHIVED_CONTENT
    check_that_nothing_is_lost(golden, list(PROJECTS), doomed)


@pytest.mark.parametrize("version", ["1.1", "1.2", "2.0-beta", "2.0-rc"])
def test_rerouting_around_another_loses_nothing(golden: Service, version: str) -> None:
    doomed = naming(f"{STATIONS}/{version}")
    reroute(golden, doomed)
    check_that_nothing_is_lost(golden, list(PROJECTS), doomed)
    assert latest_of(golden, STATIONS) == ("1.2" if version == "2.0-rc" else "2.0-rc")


def test_rerouting_around_a_whole_asset_loses_nothing(golden: Service) -> None:
    doomed = naming(STATIONS)
    reroute(golden, doomed)
    check_that_nothing_is_lost(golden, list(PROJECTS), doomed)
    assert golden.read("weather/..usage")["total"] > 0


def test_its_version_on_probation_can_be_approved(golden: Service) -> None:
    beta = naming(f"{STATIONS}/2.0-beta")
    golden.succeed("approve_probation", beta)
    assert "on_probation" not in golden.read(f"{STATIONS}/2.0-beta/..summary")
    entry = [e for e in golden.logs("weather") if e.get("version") == "2.0-beta"]
    assert entry == [{**beta, "type": "add-version", "latest": False}]
    assert latest_of(golden, STATIONS) == "2.0-rc"
    check_valid(golden, "weather")


def test_its_version_on_probation_can_be_rejected(golden: Service) -> None:
    golden.succeed("reject_probation", naming(f"{STATIONS}/2.0-beta"))
    check_usage(golden, "weather")
    check_valid(golden, "weather")


def test_a_further_version_with_links_to_it_can_be_rerouted_too(golden: Service) -> None:
    registry = golden.registry
    tree = {
        "far": Symlink(registry / STATIONS / "1.2/latest-month"),
        "ext": Symlink(registry / REPORT / "first/data/ext"),
        "archive": Symlink(ARCHIVED),
        "own": b"own",
    }
    manifest = golden.upload(f"{REPORT}/second", tree)
    origin = f"{STATIONS}/1.0/2024/feb.csv"
    assert manifest["far"]["link"] == link(f"{STATIONS}/1.2/latest-month", origin)
    assert manifest["ext"] == linked(ARCHIVED_CONTENT, link(f"{REPORT}/first/data/ext"))
    assert latest_of(golden, REPORT) == "second"
    doomed = naming(STATIONS)
    assert copied(f"{REPORT}/second/far", f"{STATIONS}/1.2/latest-month", 4) in reroute(
        golden, doomed
    )
    check_that_nothing_is_lost(golden, list(PROJECTS), doomed)


def test_its_permissions_can_be_changed(golden: Service) -> None:
    before = golden.read("weather/..permissions")
    golden.succeed("set_permissions", naming("weather", permissions={"global_write": True}))
    assert golden.read("weather/..permissions") == {**before, "global_write": True}
    payload = naming(DROP_BOX, permissions={"owners": ["somebody"]})
    golden.succeed("set_permissions", payload)
    stored = golden.read(f"{DROP_BOX}/..permissions")
    assert stored["owners"] == ["somebody"]
    assert not stored["uploaders"]


@pytest.mark.parametrize("project", PROJECTS)
def test_its_projects_can_be_deleted(golden: Service, project: str) -> None:
    golden.succeed("delete_project", naming(project))
    assert not (golden.registry / project).exists()
    check_valid(golden, *(name for name in PROJECTS if name != project))
