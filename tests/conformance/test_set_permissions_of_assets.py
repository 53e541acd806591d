"""The action ``set_permissions`` for an asset (protocol, section 4)."""

from __future__ import annotations

from typing import Any

import pytest

from .accounts import ALICE, BOB, CAROL
from .addresses import naming, project_of
from .checks import latest_of
from .service import Service
from .test_create_project import FUTURE
from .test_records import is_pretty


def set_and_read(
    service: Service, asset: str, permissions: object, user: str | None = None
) -> dict[str, Any]:
    """What is stored after ``permissions`` were set."""
    service.succeed("set_permissions", naming(asset, permissions=permissions), user)
    return service.read(f"{asset}/..permissions")


@pytest.fixture
def asset(service: Service, project: str) -> str:
    """An asset with one version and no permissions of its own."""
    service.upload(f"{project}/asset/1", {"a": b"a"})
    return f"{project}/asset"


class TestWhatIsStored:
    def test_is_what_was_given(self, service: Service, asset: str) -> None:
        given = {"owners": ["me", "ü"], "uploaders": [{"id": "u"}]}
        assert set_and_read(service, asset, given) == given

    def test_names_no_asset_in_its_uploaders(self, service: Service, asset: str) -> None:
        more = {"version": "v", "until": FUTURE, "trusted": True}
        uploaders = [{"id": "u", "asset": "asset", **more}, {"id": "w", "asset": "other"}]
        stored = set_and_read(service, asset, {"uploaders": uploaders})
        assert stored["uploaders"] == [{"id": "u", **more}, {"id": "w"}]

    @pytest.mark.parametrize("value", [True, False])
    def test_knows_no_global_write(self, service: Service, asset: str, value: bool) -> None:
        stored = set_and_read(service, asset, {"owners": ["me"], "global_write": value})
        assert not stored.get("global_write")
        assert stored["owners"] == ["me"]

    @pytest.mark.parametrize(
        ("given", "stored"),
        [
            ({"owners": ["you"]}, {"owners": ["you"], "uploaders": [{"id": "u"}]}),
            ({"uploaders": []}, {"owners": ["me"], "uploaders": []}),
            ({"owners": []}, {"owners": [], "uploaders": [{"id": "u"}]}),
            ({"owners": None}, {"owners": ["me"], "uploaders": [{"id": "u"}]}),
            ({"uploaders": None}, {"owners": ["me"], "uploaders": [{"id": "u"}]}),
            ({}, {"owners": ["me"], "uploaders": [{"id": "u"}]}),
        ],
    )
    def test_is_replaced_property_by_property(
        self, service: Service, asset: str, given: dict, stored: dict
    ) -> None:
        set_and_read(service, asset, {"owners": ["me"], "uploaders": [{"id": "u"}]})
        assert set_and_read(service, asset, given) == stored

    def test_is_a_file_of_the_asset_alone(self, service: Service, asset: str) -> None:
        before = service.snapshot(project_of(asset))
        set_and_read(service, asset, {"owners": ["me"]})
        after = service.snapshot(project_of(asset))
        assert after.pop(f"{asset}/..permissions")
        assert after == before

    def test_is_like_every_record(self, service: Service, asset: str) -> None:
        set_and_read(service, asset, {"owners": ["me"]})
        path = service.registry / asset / "..permissions"
        assert is_pretty(path)
        assert oct(path.stat().st_mode & 0o7777) == oct(0o644)


@pytest.mark.usefixtures("accounts")
class TestAnAssetThatIsNotThere:
    @pytest.mark.parametrize("user", [None, ALICE])
    def test_is_made_for_an_administrator_or_an_owner(
        self, service: Service, user: str | None
    ) -> None:
        project = service.new_project(owners=[ALICE])
        asset = f"{project}/new"
        stored = set_and_read(service, asset, {"owners": [BOB]}, user)
        assert stored["owners"] == [BOB]
        assert not stored.get("uploaders")
        directory = service.registry / asset
        assert oct(directory.stat().st_mode & 0o7777) == oct(0o755)
        names = {path.name for path in directory.iterdir()}
        assert {name for name in names if not name.startswith("..LOCK")} == {"..permissions"}

    def test_has_no_versions_then_and_nothing_is_logged(
        self, service: Service, project: str
    ) -> None:
        set_and_read(service, f"{project}/new", {"owners": [BOB]})
        assert service.logs(project) == []
        assert service.read(f"{project}/..usage") == {"total": 0}
        assert latest_of(service, f"{project}/new") is None

    def test_is_the_new_owners_from_then_on(self, service: Service, project: str) -> None:
        set_and_read(service, f"{project}/new", {"owners": [BOB]})
        service.upload(f"{project}/new/1", {"a": b"a"}, BOB)
        assert "on_probation" not in service.read(f"{project}/new/1/..summary")
        assert latest_of(service, f"{project}/new") == "1"

    def test_is_no_new_asset_to_the_world_any_more(self, service: Service) -> None:
        project = service.new_project(global_write=True)
        set_and_read(service, f"{project}/new", {"owners": [BOB]})
        payload = service.upload_of(f"{project}/new/1", {"a": b"a"}, ALICE)
        service.refuse("upload", payload, ALICE, status=403, user=ALICE)

    def test_is_not_made_for_an_uploader_of_it(self, service: Service) -> None:
        uploaders = [{"id": ALICE, "asset": "new", "trusted": True}]
        project = service.new_project(uploaders=uploaders, global_write=True)
        payload = naming(f"{project}/new", permissions={"owners": [ALICE]})
        service.refuse("set_permissions", payload, ALICE, status=403, user=ALICE)


@pytest.mark.usefixtures("accounts")
class TestFromThenOn:
    def test_its_owner_may_upload_to_it_alone(self, service: Service, asset: str) -> None:
        set_and_read(service, asset, {"owners": [ALICE]})
        service.upload(f"{asset}/2", {"a": b"b"}, ALICE)
        assert latest_of(service, asset) == "2"
        payload = service.upload_of(f"{asset}-too/1", {"a": b"b"}, ALICE)
        service.refuse("upload", payload, ALICE, status=403, user=ALICE)

    def test_its_owner_may_share_it(self, service: Service, asset: str) -> None:
        set_and_read(service, asset, {"owners": [ALICE]})
        uploaders = [{"id": CAROL, "asset": "elsewhere"}]
        set_and_read(service, asset, {"uploaders": uploaders}, ALICE)
        service.upload(f"{asset}/2", {"a": b"b"}, CAROL)
        assert service.read(f"{asset}/2/..summary")["on_probation"] is True

    def test_its_owner_may_give_it_away(self, service: Service, asset: str) -> None:
        set_and_read(service, asset, {"owners": [ALICE]})
        set_and_read(service, asset, {"owners": [BOB]}, ALICE)
        payload = naming(asset, permissions={"owners": [ALICE]})
        service.refuse("set_permissions", payload, ALICE, status=403, user=ALICE)
        set_and_read(service, asset, {"owners": [ALICE]}, BOB)

    def test_its_owner_may_not_touch_the_project(self, service: Service, asset: str) -> None:
        set_and_read(service, asset, {"owners": [ALICE]})
        payload = naming(project_of(asset), permissions={"owners": [ALICE]})
        service.refuse("set_permissions", payload, ALICE, status=403, user=ALICE)

    def test_an_owner_of_the_project_stays_above(self, service: Service) -> None:
        project = service.new_project(owners=[ALICE])
        set_and_read(service, f"{project}/asset", {"owners": [BOB]}, ALICE)
        set_and_read(service, f"{project}/asset", {"owners": []}, ALICE)
        service.upload(f"{project}/asset/1", {"a": b"a"}, ALICE)
        payload = service.upload_of(f"{project}/asset/2", {"a": b"a"}, BOB)
        service.refuse("upload", payload, BOB, status=403, user=BOB)
