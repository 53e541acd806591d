"""Who may upload, and who is trusted (protocol, section 4)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from .accounts import ALICE, BOB, CAROL
from .launch import present_user
from .service import Service

pytestmark = pytest.mark.usefixtures("accounts")

PAST, FUTURE = "2020-01-01T00:00:00Z", "2099-12-31T23:59:59+01:00"

TRUSTED, PROBATION, FORBIDDEN = "trusted", "on probation", "forbidden"

OTHERS = [{"id": BOB, "trusted": True}, {"id": present_user(), "trusted": True}]


def me(**fields: Any) -> dict[str, Any]:
    """An uploader entry of the user who uploads."""
    return {"id": ALICE, **fields}


def check(service: Service, address: str, expected: str, user: str = ALICE) -> None:
    """Upload as ``user`` and see how it is taken."""
    payload = service.upload_of(address, {"file": address.encode()}, user)
    if expected == FORBIDDEN:
        service.refuse("upload", payload, user, status=403, user=user)
        return
    service.succeed("upload", payload, user)
    summary = service.read(f"{address}/..summary")
    assert summary["upload_user_id"] == user
    assert summary.get("on_probation", False) == (expected == PROBATION)


def set_by_hand(registry: Path, asset: str, permissions: dict) -> None:
    """Give an asset permissions of its own."""
    (registry / asset).mkdir(exist_ok=True)
    (registry / asset / "..permissions").write_text(json.dumps(permissions))


# The uploaders of a project, and how an upload of ALICE to asset "A", version "V" is taken.
UPLOADERS: dict[str, tuple[list[dict[str, Any]], str]] = {
    "nobody": ([], FORBIDDEN),
    "others only": (OTHERS, FORBIDDEN),
    "everything": ([me()], PROBATION),
    "everything, trusted": ([me(trusted=True)], TRUSTED),
    "everything, not trusted": ([me(trusted=False)], PROBATION),
    "this asset": ([me(asset="A", trusted=True)], TRUSTED),
    "another asset": ([me(asset="B", trusted=True)], FORBIDDEN),
    "an asset that only starts alike": ([me(asset="AA", trusted=True)], FORBIDDEN),
    "an asset in other letters": ([me(asset="a", trusted=True)], FORBIDDEN),
    "this version": ([me(version="V", trusted=True)], TRUSTED),
    "another version": ([me(version="W", trusted=True)], FORBIDDEN),
    "this asset and version": ([me(asset="A", version="V", trusted=True)], TRUSTED),
    "this asset, another version": ([me(asset="A", version="W", trusted=True)], FORBIDDEN),
    "another asset, this version": ([me(asset="B", version="V", trusted=True)], FORBIDDEN),
    "until the future": ([me(until=FUTURE, trusted=True)], TRUSTED),
    "until the past": ([me(until=PAST, trusted=True)], FORBIDDEN),
    "all together": ([me(asset="A", version="V", until=FUTURE, trusted=True)], TRUSTED),
    "all together, but late": ([me(asset="A", version="V", until=PAST)], FORBIDDEN),
    "the first match counts": ([me(), me(trusted=True)], PROBATION),
    "the first match counts, trusted": ([me(trusted=True), me()], TRUSTED),
    "the first match of all": ([me(asset="A"), me(asset="A", trusted=True)], PROBATION),
    "another asset is no match": ([me(asset="B"), me(trusted=True)], TRUSTED),
    "another version is no match": ([me(version="W"), me(trusted=True)], TRUSTED),
    "a late one is no match": ([me(until=PAST, trusted=True), me()], PROBATION),
    "another user is no match": ([*OTHERS, me()], PROBATION),
    "a user in other letters": ([{"id": ALICE.upper(), "trusted": True}], FORBIDDEN),
    "no user by a star": ([{"id": "*", "trusted": True}], FORBIDDEN),
}


@pytest.mark.parametrize(("uploaders", "expected"), UPLOADERS.values(), ids=UPLOADERS)
class TestUploadersOf:
    def test_a_project(self, service: Service, uploaders: list[dict], expected: str) -> None:
        project = service.new_project(owners=[BOB], uploaders=uploaders)
        check(service, f"{project}/A/V", expected)

    def test_a_project_with_the_asset_there(
        self, service: Service, uploaders: list[dict], expected: str
    ) -> None:
        project = service.new_project(owners=[BOB], uploaders=uploaders)
        service.upload(f"{project}/A/before", {"file": b""})
        check(service, f"{project}/A/V", expected)


# In an asset's own permissions an asset has no meaning.
WITHOUT_ASSET = {
    name: case for name, case in UPLOADERS.items() if not any("asset" in each for each in case[0])
}


@pytest.mark.parametrize(
    ("uploaders", "expected"), WITHOUT_ASSET.values(), ids=WITHOUT_ASSET.keys()
)
def test_uploaders_of_an_asset(
    service: Service, writable_registry: Path, uploaders: list[dict], expected: str
) -> None:
    project = service.new_project(owners=[BOB])
    set_by_hand(writable_registry, f"{project}/A", {"owners": [], "uploaders": uploaders})
    check(service, f"{project}/A/V", expected)


def test_an_administrator_may_upload_anywhere_and_is_trusted(service: Service) -> None:
    project = service.new_project(owners=[BOB])
    service.upload(f"{project}/asset/1", {"a": b"a"})
    assert service.read(f"{project}/asset/..latest") == {"version": "1"}


def test_a_project_owner_is_trusted(service: Service) -> None:
    project = service.new_project(owners=[BOB, ALICE], uploaders=[me(trusted=False)])
    check(service, f"{project}/asset/1", TRUSTED)


def test_anybody_may_ask_for_probation(service: Service) -> None:
    project = service.new_project(owners=[ALICE], uploaders=[{"id": BOB, "trusted": True}])
    for version, user in (("1", ALICE), ("2", BOB), ("3", None)):
        service.upload(f"{project}/asset/{version}", {"a": b"a"}, user, on_probation=True)
        assert service.read(f"{project}/asset/{version}/..summary")["on_probation"] is True


def test_who_is_not_trusted_can_not_ask_to_be(service: Service) -> None:
    project = service.new_project(uploaders=[me()])
    service.upload(f"{project}/asset/1", {"a": b"a"}, ALICE, on_probation=False)
    assert service.read(f"{project}/asset/1/..summary")["on_probation"] is True


class TestAnAssetsOwnPermissions:
    def test_make_its_owner_trusted_there_alone(
        self, service: Service, writable_registry: Path
    ) -> None:
        project = service.new_project(owners=[BOB])
        set_by_hand(writable_registry, f"{project}/mine", {"owners": [ALICE], "uploaders": []})
        check(service, f"{project}/mine/1", TRUSTED)
        check(service, f"{project}/other/1", FORBIDDEN)

    def test_may_hold_null_for_an_array(self, service: Service, writable_registry: Path) -> None:
        project = service.new_project(owners=[BOB])
        set_by_hand(writable_registry, f"{project}/mine", {"owners": [ALICE], "uploaders": None})
        check(service, f"{project}/mine/1", TRUSTED)
        check(service, f"{project}/mine/2", FORBIDDEN, CAROL)
        set_by_hand(writable_registry, f"{project}/yours", {"owners": None, "uploaders": [me()]})
        check(service, f"{project}/yours/1", PROBATION)

    @pytest.mark.parametrize("named", ["asset", "other", "ASSET", ""])
    def test_ignore_the_asset_of_an_entry(
        self, service: Service, writable_registry: Path, named: str
    ) -> None:
        project = service.new_project(owners=[BOB])
        uploaders = [me(asset=named, version="1"), me(asset=named, version="2", trusted=True)]
        set_by_hand(writable_registry, f"{project}/asset", {"owners": [], "uploaders": uploaders})
        check(service, f"{project}/asset/1", PROBATION)
        check(service, f"{project}/asset/2", TRUSTED)
        check(service, f"{project}/asset/3", FORBIDDEN)
        check(service, f"{project}/other/1", FORBIDDEN)

    def test_come_after_the_projects(self, service: Service, writable_registry: Path) -> None:
        uploaders = [me(), {"id": CAROL, "trusted": True}]
        project = service.new_project(owners=[BOB], uploaders=uploaders)
        permissions = {"owners": [], "uploaders": [me(trusted=True), {"id": CAROL}]}
        set_by_hand(writable_registry, f"{project}/asset", permissions)
        check(service, f"{project}/asset/1", PROBATION)
        check(service, f"{project}/asset/2", TRUSTED, CAROL)

    def test_apply_to_that_asset_alone(self, service: Service, writable_registry: Path) -> None:
        project = service.new_project(owners=[BOB])
        permissions = {"owners": [], "uploaders": [me(trusted=True)]}
        set_by_hand(writable_registry, f"{project}/this", permissions)
        check(service, f"{project}/this/1", TRUSTED)
        check(service, f"{project}/that/1", FORBIDDEN)

    def test_take_nothing_from_the_projects_owner(
        self, service: Service, writable_registry: Path
    ) -> None:
        project = service.new_project(owners=[BOB])
        set_by_hand(writable_registry, f"{project}/asset", {"owners": [ALICE], "uploaders": []})
        check(service, f"{project}/asset/1", TRUSTED, BOB)


class TestGlobalWrite:
    def test_lets_anybody_make_a_new_asset_and_own_it(self, service: Service) -> None:
        project = service.new_project(owners=[BOB], global_write=True)
        check(service, f"{project}/mine/1", TRUSTED)
        permissions = service.read(f"{project}/mine/..permissions")
        assert permissions["owners"] == [ALICE]
        assert not permissions.get("uploaders")
        check(service, f"{project}/mine/2", TRUSTED)

    def test_does_not_reach_an_asset_that_exists(self, service: Service) -> None:
        project = service.new_project(owners=[BOB], global_write=True)
        check(service, f"{project}/mine/1", TRUSTED)
        check(service, f"{project}/mine/2", FORBIDDEN, CAROL)
        service.upload(f"{project}/theirs/1", {"a": b"a"})
        check(service, f"{project}/theirs/2", FORBIDDEN)

    def test_leaves_the_projects_permissions_alone(self, service: Service) -> None:
        project = service.new_project(owners=[BOB], global_write=True)
        before = service.read(f"{project}/..permissions")
        check(service, f"{project}/mine/1", TRUSTED)
        assert service.read(f"{project}/..permissions") == before

    def test_must_be_true(self, service: Service) -> None:
        project = service.new_project(owners=[BOB], global_write=False)
        check(service, f"{project}/mine/1", FORBIDDEN)

    def test_still_grants_probation_to_who_asks(self, service: Service) -> None:
        project = service.new_project(owners=[BOB], global_write=True)
        service.upload(f"{project}/mine/1", {"a": b"a"}, ALICE, on_probation=True)
        assert service.read(f"{project}/mine/1/..summary")["on_probation"] is True
        assert service.read(f"{project}/mine/..permissions")["owners"] == [ALICE]


def test_a_name_written_inside_the_request_gives_no_right(service: Service) -> None:
    project = service.new_project(owners=[BOB])
    payload = service.upload_of(f"{project}/asset/1", {"a": b"a"}, ALICE)
    payload.update(user=BOB, owner=BOB, upload_user_id=BOB)
    service.refuse("upload", payload, ALICE, status=403, user=ALICE)
