"""What is logged, and what is not (protocol, section 2.4)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from .addresses import naming, project_of
from .checks import set_dates
from .service import TIME, Service
from .test_records import is_pretty


@pytest.fixture
def asset(service: Service, project: str) -> str:
    """An asset with a version 1, then 2 (latest), and one on probation."""
    for version in ("1", "2", "beta"):
        tree = {"f": version.encode()}
        service.upload(f"{project}/asset/{version}", tree, on_probation=version == "beta")
    return f"{project}/asset"


def at(version: str) -> Callable[[str], dict[str, Any]]:
    return lambda asset: naming(f"{asset}/{version}")


def naming_project(asset: str) -> dict[str, Any]:
    return naming(project_of(asset))


def set_owners(asset: str) -> dict[str, Any]:
    return naming(asset, permissions={"owners": ["somebody"]})


# The request (the action, and its payload made from the asset), and the entry: its type,
# the names in it, and whether it says that the version is the latest.
LOGGED = {
    "approve_probation": ("approve_probation", at("beta"), "add-version", True),
    "delete_version": ("delete_version", at("1"), "delete-version", False),
    "delete_version of the latest": ("delete_version", at("2"), "delete-version", True),
    "delete_asset": ("delete_asset", naming, "delete-asset", None),
    "delete_project": ("delete_project", naming_project, "delete-project", None),
    "reindex_version": ("reindex_version", at("1"), "reindex-version", False),
    "reindex_version of the latest": ("reindex_version", at("2"), "reindex-version", True),
}

NOT_LOGGED = {
    "create_project": ("create_project", lambda asset: {"project": "x" + project_of(asset)}),
    "set_permissions": ("set_permissions", lambda a: naming_project(a) | {"permissions": {}}),
    "set_permissions of an asset": ("set_permissions", set_owners),
    "set_permissions of a new asset": ("set_permissions", lambda a: set_owners(a + "2")),
    "reject_probation": ("reject_probation", at("beta")),
    "delete_version on probation": ("delete_version", at("beta")),
    "reindex_version on probation": ("reindex_version", at("beta")),
    "deleting what is not there": ("delete_version", at("missing")),
    "refresh_latest": ("refresh_latest", naming),
    "refresh_usage": ("refresh_usage", naming_project),
    "validate_version": ("validate_version", at("1")),
    "reroute_links": ("reroute_links", lambda a: {"to_delete": [naming(a)]}),
    "health_check": ("health_check", lambda _: {}),
}

REFUSED = {
    "approve_probation": ("approve_probation", at("1")),
    "reject_probation": ("reject_probation", at("1")),
    "reindex_version": ("reindex_version", at("missing")),
    "validate_version": ("validate_version", at("missing")),
    "create_project": ("create_project", naming_project),
    "refresh_latest": ("refresh_latest", lambda asset: naming(f"{asset}-missing")),
}


def names_of(service: Service) -> set[str]:
    return {path.name for path in (service.registry / "..logs").iterdir()}


@pytest.mark.parametrize(("action", "payload_for", "kind", "latest"), LOGGED.values(), ids=LOGGED)
def test_a_change_is_logged(
    service: Service, asset: str, action: str, payload_for: Any, kind: str, latest: bool | None
) -> None:
    set_dates(service, asset, "1", "2", "beta")
    before = names_of(service)
    payload = payload_for(asset)
    service.succeed(action, payload)
    (name,) = names_of(service) - before
    expected = {**payload, "type": kind} | ({} if latest is None else {"latest": latest})
    entry = service.read(f"..logs/{name}")
    assert entry == expected
    assert list(entry) == sorted(entry)


@pytest.mark.parametrize(("action", "payload_for"), NOT_LOGGED.values(), ids=NOT_LOGGED)
def test_nothing_is_logged(service: Service, asset: str, action: str, payload_for: Any) -> None:
    before = names_of(service)
    service.succeed(action, payload_for(asset))
    assert names_of(service) == before


@pytest.mark.parametrize(("action", "payload_for"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused_is_not_logged(
    service: Service, asset: str, action: str, payload_for: Any
) -> None:
    before = names_of(service)
    service.refuse(action, payload_for(asset))
    assert names_of(service) == before


@pytest.mark.parametrize("action", ["delete_version", "reindex_version"])
def test_an_entry_is_a_record_named_by_its_time(service: Service, asset: str, action: str) -> None:
    before = names_of(service)
    service.succeed(action, naming(f"{asset}/1"))
    (name,) = names_of(service) - before
    path = service.registry / "..logs" / name
    assert re.fullmatch(TIME + r"_\d{6}", name)
    assert is_pretty(path)
    assert oct(path.stat().st_mode & 0o7777) == oct(0o644)


@pytest.mark.beyond
def test_entries_sort_in_the_order_of_the_changes(service: Service, asset: str) -> None:
    project = project_of(asset)
    before = len(service.logs(project))
    service.succeed("approve_probation", naming(f"{asset}/beta"))
    service.succeed("reindex_version", naming(f"{asset}/1"))
    service.succeed("delete_version", naming(f"{asset}/1"))
    service.upload(f"{asset}/1", {"f": b"anew"})
    service.succeed("delete_asset", naming(asset))
    service.succeed("delete_project", naming(project))
    kinds = [entry["type"] for entry in service.logs(project)[before:]]
    assert kinds == [
        "add-version",
        "reindex-version",
        "delete-version",
        "add-version",
        "delete-asset",
        "delete-project",
    ]
