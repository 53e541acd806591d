"""What the service ignores, and what it warns of, is said in the answer (section 9)."""

from __future__ import annotations

from typing import Any

import pytest

from .accounts import ALICE
from .addresses import naming
from .launch import present_user
from .service import Service

pytestmark = [pytest.mark.beyond, pytest.mark.usefixtures("accounts")]

NOBODY = "no-such-user"


@pytest.mark.parametrize(
    ("permissions", "places"),
    [
        (
            {"uploaders": [{"id": ALICE, "untill": "2027-01-01T00:00:00Z"}]},
            ["$.permissions.uploaders[0].untill"],
        ),
        ({"uploaders": [{"id": ALICE, "trusted ": 1}]}, ["$.permissions.uploaders[0].trusted "]),
        ({"asset": "a", "uploaders": [{"id": ALICE}]}, ["$.permissions.asset"]),
        ({"Owners": [ALICE]}, ["$.permissions.Owners"]),
    ],
)
@pytest.mark.parametrize("action", ["set_permissions", "create_project"])
def test_ignored_fields_are_named(
    service: Service, project: str, action: str, permissions: dict[str, Any], places: list[str]
) -> None:
    of = project if action == "set_permissions" else service.unique()
    answer = service.succeed(action, {"project": of, "permissions": permissions})
    assert answer == {"status": "SUCCESS", "ignored": places}
    stored = service.read(f"{of}/..permissions")
    assert stored["owners"] == [present_user()]
    assert stored["uploaders"] == [{"id": ALICE} for _ in permissions.get("uploaders", ())]


def test_what_only_a_project_has_is_named(service: Service, project: str) -> None:
    uploaders = [{"id": ALICE, "asset": "asset"}, {"id": ALICE}, {"id": ALICE, "asset": "other"}]
    given = {"uploaders": uploaders, "global_write": False}
    answer = service.succeed("set_permissions", naming(f"{project}/asset", permissions=given))
    assert answer == {
        "status": "SUCCESS",
        "ignored": ["$.permissions.uploaders[2].asset", "$.permissions.global_write"],
    }
    assert service.read(f"{project}/asset/..permissions")["uploaders"] == [{"id": ALICE}] * 3


def test_an_upload_names_them_too(service: Service, project: str) -> None:
    payload = service.upload_of(f"{project}/a/1", {"f": b"f"}, on_probaton=True)
    answer = service.succeed("upload", payload)
    assert answer == {"status": "SUCCESS", "ignored": ["$.on_probaton"]}


@pytest.mark.parametrize("of_asset", [False, True])
def test_new_users_without_an_account_are_named(
    service: Service, project: str, of_asset: bool
) -> None:
    of = naming(f"{project}/asset" if of_asset else project)
    given = {"owners": [present_user(), ALICE, NOBODY], "uploaders": [{"id": f"{NOBODY}-too"}]}
    answer = service.succeed("set_permissions", {**of, "permissions": given})
    assert len(answer["warnings"]) == 2
    assert f'owner "{NOBODY}"' in answer["warnings"][0]
    assert f'uploader "{NOBODY}-too"' in answer["warnings"][1]
    answer = service.succeed("set_permissions", {**of, "permissions": given})
    assert answer == {"status": "SUCCESS"}  # they are not new any more


def test_a_new_project_of_users_without_an_account_is_warned_about(service: Service) -> None:
    fields = {"project": service.unique(), "permissions": {"owners": [f"{ALICE},{NOBODY}"]}}
    answer = service.succeed("create_project", fields)
    assert "none of the owners has an account" in answer["warnings"][0]
    assert f"{ALICE},{NOBODY}" in answer["warnings"][1]


def test_a_project_without_an_owner_is_warned_about(service: Service, project: str) -> None:
    answer = service.succeed("set_permissions", naming(project, permissions={"owners": []}))
    assert "nobody owns" in answer["warnings"][0]
    assert service.read(f"{project}/..permissions")["owners"] == []


def test_an_asset_needs_no_owner_of_its_own(service: Service, project: str) -> None:
    payload = naming(f"{project}/asset", permissions={"owners": []})
    assert service.succeed("set_permissions", payload) == {"status": "SUCCESS"}


def test_an_asset_that_loses_its_last_owner_is_warned_about(service: Service, project: str) -> None:
    where = f"{project}/owned"
    service.succeed("set_permissions", naming(where, permissions={"owners": [ALICE]}))
    answer = service.succeed("set_permissions", naming(where, permissions={"owners": []}))
    assert "nobody owns the asset" in answer["warnings"][0]
    answer = service.succeed("set_permissions", naming(where, permissions={"owners": []}))
    assert answer == {"status": "SUCCESS"}
