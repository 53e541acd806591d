"""Who may ask for what (protocol, section 4; section 9, number 14)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from .accounts import ALICE
from .addresses import naming
from .checks import unchanged
from .roles import ADMIN, ASSET_OWNER, OWN_UPLOADER, PROJECT_OWNER, ROLES, set_scene
from .service import Service

pytestmark = pytest.mark.usefixtures("accounts")

Maker = Callable[[str], dict[str, Any]]
"""A payload, made from the name of the project."""

OWNERS = (ADMIN, PROJECT_OWNER)


def of_version(version: str) -> Maker:
    return lambda project: naming(f"{project}/asset/{version}")


def of_asset(project: str) -> dict[str, Any]:
    return naming(f"{project}/asset")


# The request: the action, its payload, who may send it, and whom only our service allows.
ASKED: dict[str, tuple[str, Maker, tuple[str, ...], tuple[str, ...]]] = {
    "permissions of a project": (
        "set_permissions",
        lambda project: naming(project, permissions={"owners": [ALICE]}),
        OWNERS,
        (),
    ),
    "permissions of an asset": (
        "set_permissions",
        lambda project: naming(f"{project}/asset", permissions={"owners": [ALICE]}),
        (*OWNERS, ASSET_OWNER),
        (),
    ),
    "permissions of a new asset": (
        "set_permissions",
        lambda project: naming(f"{project}/new", permissions={"owners": [ALICE]}),
        OWNERS,
        (),
    ),
    "approve_probation": ("approve_probation", of_version("2"), OWNERS, (ASSET_OWNER,)),
    "reject_probation": (
        "reject_probation",
        of_version("2"),
        OWNERS,
        (ASSET_OWNER, OWN_UPLOADER),
    ),
    "delete_project": ("delete_project", naming, (ADMIN,), ()),
    "delete_asset": ("delete_asset", of_asset, (ADMIN,), ()),
    "delete_version": ("delete_version", of_version("1"), (ADMIN,), ()),
    "delete_version on probation": ("delete_version", of_version("2"), (ADMIN,), ()),
    "refresh_latest": ("refresh_latest", of_asset, (ADMIN,), ()),
    "refresh_usage": ("refresh_usage", naming, (ADMIN,), ()),
    "reindex_version": ("reindex_version", of_version("1"), (ADMIN,), ()),
    "reindex_version on probation": ("reindex_version", of_version("2"), (ADMIN,), ()),
    "validate_version": ("validate_version", of_version("1"), (ADMIN,), ()),
    "reroute_links": (
        "reroute_links",
        lambda project: {"to_delete": [naming(project)]},
        (ADMIN,),
        (),
    ),
    "reroute_links, only to look": (
        "reroute_links",
        lambda project: {"to_delete": [naming(project)], "dry_run": True},
        (ADMIN,),
        (),
    ),
    "health_check": ("health_check", lambda _: {}, ROLES, ()),
}

ALLOWED = [
    pytest.param(what, role, marks=[pytest.mark.beyond] if role in ours else [])
    for what, (_, _, allowed, ours) in ASKED.items()
    for role in (*allowed, *ours)
]

FORBIDDEN = [
    (what, role)
    for what, (_, _, allowed, ours) in ASKED.items()
    for role in ROLES
    if role not in (*allowed, *ours)
]


@pytest.mark.parametrize(("what", "role"), ALLOWED)
def test_is_allowed(service: Service, what: str, role: str) -> None:
    action, payload_for, _, _ = ASKED[what]
    scene = set_scene(service, role)
    service.succeed(action, payload_for(scene.project), scene.user)


@pytest.mark.parametrize(("what", "role"), FORBIDDEN)
def test_is_forbidden_and_changes_nothing(service: Service, what: str, role: str) -> None:
    action, payload_for, _, _ = ASKED[what]
    scene = set_scene(service, role)
    with unchanged(service, scene.project):
        payload = payload_for(scene.project)
        service.refuse(action, payload, ALICE, status=403, user=scene.user)


@pytest.mark.parametrize("action", ["delete_project", "delete_asset", "delete_version"])
def test_what_is_not_there_may_not_be_deleted_either(service: Service, action: str) -> None:
    payload = naming(f"{service.unique()}/asset/1")
    service.refuse(action, payload, ALICE, status=403, user=ALICE)


@pytest.mark.parametrize("action", ["delete_version", "reject_probation"])
def test_force_gives_no_right(service: Service, action: str) -> None:
    project = service.new_project()
    service.upload(f"{project}/asset/1", {"a": b"a"}, on_probation=True)
    payload = naming(f"{project}/asset/1", force=True)
    service.refuse(action, payload, ALICE, status=403, user=ALICE)


def test_an_owner_that_gave_the_project_away_may_not_any_more(service: Service) -> None:
    project = service.new_project(owners=[ALICE])
    payload = naming(project, permissions={"owners": ["somebody"]})
    service.succeed("set_permissions", payload, ALICE)
    service.refuse("set_permissions", payload, ALICE, status=403, user=ALICE)
