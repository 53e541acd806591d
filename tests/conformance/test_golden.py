"""A registry that the Go service 0.5.0 wrote is read and continued."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from .accounts import ALICE, BOB, CAROL
from .conftest import OwnService
from .golden_copy import DROP_BOX, STATIONS, continued_in
from .service import Service, Symlink, link, linked, plain


@pytest.fixture(scope="module")
def continued(own: OwnService, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Our service on a copy of that registry."""
    with continued_in(tmp_path_factory.mktemp("golden")) as client:
        yield client


def test_it_can_be_listed(continued: Service) -> None:
    assert {"weather/", "empty/", "Open Data ü/"} <= set(continued.list().json())
    recursive = continued.list(f"{STATIONS}/1.0", recursive=True).json()
    assert {"readme.md", "2024/jan.csv", "2024/notes/", "empty/inner/"} <= set(recursive)


@pytest.mark.beyond
def test_its_odd_names_can_be_listed(continued: Service) -> None:
    names = continued.list(f"{DROP_BOX}/v 1", recursive=True).json()
    assert sorted(names) == ["..manifest", "..summary", "a+b %.txt", "d/日本.txt"]


def test_its_files_can_be_fetched_through_links(continued: Service) -> None:
    for version in ("1.0", "1.1", "1.2", "2.0-beta"):
        manifest = continued.read(f"{STATIONS}/{version}/..manifest")
        for path, entry in manifest.items():
            if entry["md5sum"]:
                content = continued.fetch(f"{STATIONS}/{version}/{path}").content
                assert plain(content).items() <= entry.items()
    assert continued.fetch(f"{DROP_BOX}/v 1/d/日本.txt").status_code == 200


def test_its_latest_version_is_deduplicated_against(continued: Service) -> None:
    content = continued.fetch(f"{STATIONS}/2.0-rc/rc.csv").content
    before = continued.read("weather/..usage")["total"]
    manifest = continued.upload(f"{STATIONS}/dedup", {"again": content, "new": b"new!"})
    assert manifest["again"] == linked(content, link(f"{STATIONS}/2.0-rc/rc.csv"))
    assert manifest["new"] == plain(b"new!")
    assert continued.read("weather/..usage") == {"total": before + 4}
    assert continued.read(f"{STATIONS}/..latest") == {"version": "dedup"}


@pytest.mark.parametrize("path", ["2024/feb.csv", "2024/alias", "latest-month"])
def test_its_links_can_be_linked_to(continued: Service, path: str) -> None:
    target = continued.registry / STATIONS / "1.2" / path
    content = target.read_bytes()
    address = f"{STATIONS}/to-{path.replace('/', '-')}"
    manifest = continued.upload(address, {"link": Symlink(target)})
    ancestor = f"{STATIONS}/1.0/2024/feb.csv"
    assert manifest["link"] == linked(content, link(f"{STATIONS}/1.2/{path}", ancestor))
    assert os.readlink(continued.registry / address / "link") == "../1.0/2024/feb.csv"


def test_its_version_on_probation_can_not_be_linked_to(continued: Service) -> None:
    target = continued.registry / STATIONS / "2.0-beta" / "new.csv"
    payload = continued.upload_of(f"{STATIONS}/beta-link", {"link": Symlink(target)})
    continued.refuse("upload", payload, "link")


def test_its_projects_and_versions_exist(continued: Service) -> None:
    continued.refuse("create_project", {"project": "Open Data ü"}, "Open Data ü", status=400)
    for version in ("1.0", "2.0-beta"):
        payload = continued.upload_of(f"{STATIONS}/{version}", {"a": b"a"})
        continued.refuse("upload", payload, version, status=400)


@pytest.mark.usefixtures("accounts")
class TestItsPermissions:
    def test_of_a_project_hold(self, continued: Service) -> None:
        continued.upload(f"{STATIONS}/by-alice", {"a": b"a"}, ALICE)
        assert "on_probation" not in continued.read(f"{STATIONS}/by-alice/..summary")
        continued.upload(f"{STATIONS}/by-bob", {"b": b"b"}, BOB)
        assert continued.read(f"{STATIONS}/by-bob/..summary")["on_probation"] is True
        payload = continued.upload_of("weather/other/1", {"b": b"b"}, BOB)
        continued.refuse("upload", payload, BOB, status=403, user=BOB)

    def test_of_an_asset_hold(self, continued: Service) -> None:
        continued.upload("weather/report/by-bob", {"b": b"b"}, BOB)
        assert "on_probation" not in continued.read("weather/report/by-bob/..summary")
        continued.upload("weather/report/by-carol", {"c": b"c"}, CAROL)
        assert "on_probation" not in continued.read("weather/report/by-carol/..summary")

    def test_may_be_null(self, continued: Service) -> None:
        stored = continued.read(f"{DROP_BOX}/..permissions")
        assert stored["uploaders"] is None
        owner = stored["owners"][0]
        continued.upload(f"{DROP_BOX}/v 2", {"a": b"a"}, owner)
        stranger = next(user for user in (ALICE, BOB, CAROL) if user != owner)
        payload = continued.upload_of(f"{DROP_BOX}/v 3", {"a": b"a"}, stranger)
        continued.refuse("upload", payload, stranger, status=403, user=stranger)

    def test_let_anybody_write_a_new_asset(self, continued: Service) -> None:
        continued.upload("Open Data ü/of alice/1", {"a": b"a"}, ALICE)
        assert continued.read("Open Data ü/of alice/..permissions")["owners"] == [ALICE]
