"""Requests that make no sense, for every action that names things (protocol, sections 1, 3, 4)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from .addresses import naming
from .checks import unchanged
from .service import Service
from .test_create_project import BAD_NAMES, NAMES_WE_REFUSE_TOO

PROJECT, ASSET, VERSION = ("project",), ("project", "asset"), ("project", "asset", "version")

NAMED: dict[str, tuple[str, ...]] = {
    "set_permissions": PROJECT,
    "approve_probation": VERSION,
    "reject_probation": VERSION,
    "delete_project": PROJECT,
    "delete_asset": ASSET,
    "delete_version": VERSION,
    "refresh_latest": ASSET,
    "refresh_usage": PROJECT,
    "reindex_version": VERSION,
    "validate_version": VERSION,
}
"""The fields that an action needs to know what it is about."""

DELETING = ("delete_project", "delete_asset", "delete_version")

FIELDS = [(action, field) for action, fields in NAMED.items() for field in fields]

WITH_ASSET = [*FIELDS, ("set_permissions", "asset")]


@dataclass(frozen=True)
class Target:
    """A service and a project in it, of which nothing ever changes here."""

    service: Service
    project: str

    def payload(self, action: str) -> dict[str, Any]:
        """What would make ``action`` succeed."""
        on_probation = action in ("approve_probation", "reject_probation")
        full = naming(f"{self.project}/asset/{'2' if on_probation else '1'}")
        fields = {name: full[name] for name in NAMED[action]}
        if action == "set_permissions":
            fields["permissions"] = {"owners": ["somebody"]}
        return fields

    def refuse(self, action: str, payload: object, *names: str, status: int = 400) -> None:
        with unchanged(self.service, self.project):
            self.service.refuse(action, payload, *names, status=status)


@pytest.fixture(scope="module")
def target(service: Service) -> Target:
    project = service.new_project()
    service.upload(f"{project}/asset/1", {"a": b"a"})
    service.upload(f"{project}/asset/2", {"b": b"b"}, on_probation=True)
    return Target(service, project)


@pytest.mark.parametrize("how", ["absent", "null"])
@pytest.mark.parametrize(("action", "field"), [*FIELDS, ("set_permissions", "permissions")])
def test_a_field_that_is_missing_is_refused(
    target: Target, action: str, field: str, how: str
) -> None:
    payload = target.payload(action)
    if how == "null":
        payload[field] = None
    else:
        del payload[field]
    target.refuse(action, payload, field)


@pytest.mark.parametrize("value", [5, 1.5, True, ["name"], {"name": "name"}])
@pytest.mark.parametrize(("action", "field"), WITH_ASSET)
def test_a_name_of_another_type_is_refused(
    target: Target, action: str, field: str, value: object
) -> None:
    target.refuse(action, {**target.payload(action), field: value}, field)


@pytest.mark.parametrize(
    ("action", "field", "value"),
    [
        ("set_permissions", "permissions", []),
        ("set_permissions", "permissions", "owners"),
        ("set_permissions", "spoof", 5),
        ("approve_probation", "spoof", ["root"]),
        ("reject_probation", "spoof", {}),
        ("reject_probation", "force", "yes"),
        ("reject_probation", "force", 1),
        ("delete_asset", "force", "true"),
        ("delete_version", "force", []),
    ],
)
def test_an_option_of_another_type_is_refused(
    target: Target, action: str, field: str, value: object
) -> None:
    target.refuse(action, {**target.payload(action), field: value}, field)


@pytest.mark.parametrize("name", BAD_NAMES)
@pytest.mark.parametrize(("action", "field"), WITH_ASSET)
def test_a_bad_name_is_refused(target: Target, action: str, field: str, name: str) -> None:
    target.refuse(action, {**target.payload(action), field: name}, field)


@pytest.mark.beyond
@pytest.mark.parametrize("name", NAMES_WE_REFUSE_TOO)
@pytest.mark.parametrize(("action", "field"), WITH_ASSET)
def test_a_name_that_only_we_call_bad_is_refused(
    target: Target, action: str, field: str, name: str
) -> None:
    target.refuse(action, {**target.payload(action), field: name}, field)


@pytest.mark.parametrize(("action", "field"), FIELDS)
def test_what_is_not_there_is_missing(target: Target, action: str, field: str) -> None:
    missing = target.service.unique()
    payload = {**target.payload(action), field: missing}
    if action in DELETING:
        with unchanged(target.service, target.project, missing):
            target.service.succeed(action, payload)
    else:
        target.refuse(action, payload, missing, status=404)


def test_permissions_of_an_asset_of_a_missing_project_can_not_be_set(target: Target) -> None:
    missing = target.service.unique()
    payload = naming(f"{missing}/asset", permissions={"owners": ["somebody"]})
    target.refuse("set_permissions", payload, missing, status=404)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'"text"', b"5", b"null", b"{} {}", b"\xff"])
@pytest.mark.parametrize("action", [*NAMED, "reroute_links"])
def test_what_is_no_json_object_is_refused(target: Target, action: str, content: bytes) -> None:
    target.refuse(action, content)


@pytest.mark.parametrize("action", [a for a in NAMED if not a.startswith("delete")])
def test_unknown_fields_and_options_that_are_null_are_ignored(
    service: Service, project: str, action: str
) -> None:
    service.upload(f"{project}/asset/1", {"a": b"a"})
    service.upload(f"{project}/asset/2", {"b": b"b"}, on_probation=True)
    payload = Target(service, project).payload(action)
    service.succeed(action, {**payload, "mood": {"good": [1]}, "spoof": None, "force": None})


@pytest.mark.beyond
@pytest.mark.parametrize("action", NAMED)
def test_a_key_that_stands_twice_is_refused(target: Target, action: str) -> None:
    twice = b'{"project": "x", ' + json.dumps(target.payload(action)).encode()[1:]
    target.refuse(action, twice, "project")
