"""Requests of ``reroute_links`` that make no sense, and registries that can't be rerouted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from .addresses import naming, project_of
from .checks import unchanged
from .service import Service
from .test_create_project import BAD_NAMES, NAMES_WE_REFUSE_TOO

CONTENT = b"content"


@pytest.fixture
def project(passing_project: str) -> str:
    """A project that may be damaged."""
    return passing_project


@pytest.fixture
def asset(service: Service, project: str) -> str:
    for version in ("1", "2", "3"):
        service.upload(f"{project}/asset/{version}", {"f": CONTENT})
    return f"{project}/asset"


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"to_delete": "everything"},
        {"to_delete": {"project": "p"}},
        {"to_delete": 5},
        {"to_delete": ["p"]},
        {"to_delete": [5]},
        {"to_delete": [["p"]]},
    ],
)
def test_without_a_list_of_what_to_delete_it_is_refused(service: Service, payload: dict) -> None:
    service.refuse("reroute_links", payload, "to_delete", status=400)


@pytest.mark.parametrize("value", ["yes", 1, [], {}])
def test_another_type_of_dry_run_is_refused(service: Service, value: object) -> None:
    payload = {"to_delete": [], "dry_run": value}
    service.refuse("reroute_links", payload, "dry_run", status=400)


def refuse(
    service: Service, asset: str, entry: dict[str, Any], *names: str, status: int | None = 400
) -> None:
    """Neither is done: what makes sense, nor ``entry``."""
    payload = {"to_delete": [naming(f"{asset}/1"), entry]}
    with unchanged(service, project_of(asset)):
        service.refuse("reroute_links", payload, *names, status=status)


@pytest.mark.parametrize("name", BAD_NAMES)
@pytest.mark.parametrize("field", ["project", "asset", "version"])
def test_a_bad_name_is_refused(service: Service, asset: str, field: str, name: str) -> None:
    refuse(service, asset, {**naming(f"{asset}/2"), field: name}, field)


@pytest.mark.beyond
@pytest.mark.parametrize("name", NAMES_WE_REFUSE_TOO)
@pytest.mark.parametrize("field", ["project", "asset", "version"])
def test_a_name_that_only_we_call_bad_is_refused(
    service: Service, asset: str, field: str, name: str
) -> None:
    refuse(service, asset, {**naming(f"{asset}/2"), field: name}, field)


@pytest.mark.parametrize("value", [5, True, ["name"], {}])
@pytest.mark.parametrize("field", ["project", "asset", "version"])
def test_a_name_of_another_type_is_refused(
    service: Service, asset: str, field: str, value: object
) -> None:
    refuse(service, asset, {**naming(f"{asset}/2"), field: value}, field)


@pytest.mark.parametrize("how", ["absent", "null"])
def test_an_entry_without_a_project_is_refused(service: Service, asset: str, how: str) -> None:
    entry = {"asset": "asset"} | ({"project": None} if how == "null" else {})
    refuse(service, asset, entry, "project")


@pytest.mark.parametrize("how", ["absent", "null"])
def test_a_version_without_its_asset_is_refused(service: Service, asset: str, how: str) -> None:
    entry = {"project": project_of(asset), "version": "2"}
    refuse(service, asset, entry | ({"asset": None} if how == "null" else {}), "asset")


@pytest.mark.parametrize("field", ["project", "asset", "version"])
class TestWhatIsNotThere:
    def test_can_not_be_rerouted(self, service: Service, asset: str, field: str) -> None:
        entry = {**naming(f"{asset}/2"), field: service.unique()}
        for last in ("version", "asset"):
            refuse(service, asset, entry, entry[field], status=None)
            if last == field:
                break
            del entry[last]

    @pytest.mark.beyond
    def test_is_missing(self, service: Service, asset: str, field: str) -> None:
        entry = {**naming(f"{asset}/2"), field: service.unique()}
        refuse(service, asset, entry, entry[field], status=404)
        payload = {"to_delete": [entry], "dry_run": True}
        service.refuse("reroute_links", payload, entry[field], status=404)


@pytest.mark.parametrize("content", [b"", b"oops", b"[]", b'{"f": 5}', b'{"f": {"size": "big"}}'])
@pytest.mark.parametrize("version", ["1", "2", "3"])
def test_a_manifest_that_can_not_be_read_is_in_the_way(
    service: Service, asset: str, writable_registry: Path, version: str, content: bytes
) -> None:
    record = writable_registry / asset / version / "..manifest"
    good = record.read_bytes()
    record.write_bytes(content)
    try:
        with unchanged(service, project_of(asset)):
            payload = {"to_delete": [naming(f"{asset}/1")]}
            service.refuse("reroute_links", payload, f"{asset}/{version}")
    finally:
        record.write_bytes(good)  # other tests reroute, too


@pytest.mark.beyond
@pytest.mark.parametrize("damage", ["a circle", "a missing entry", "another content", "no file"])
def test_links_that_make_no_sense_are_in_the_way(
    service: Service, asset: str, writable_registry: Path, damage: str
) -> None:
    record = writable_registry / asset / "1/..manifest"
    good = record.read_bytes()
    manifest = json.loads(good)
    if damage == "a circle":
        manifest["f"]["link"] = naming(f"{asset}/2", path="f")
    elif damage == "a missing entry":
        manifest = {"other": manifest["f"]}
    elif damage == "another content":
        (writable_registry / asset / "1/f").write_bytes(b"CONTENT")
    else:
        (writable_registry / asset / "1/f").unlink()
    record.write_text(json.dumps(manifest))
    doomed = [naming(f"{asset}/1")] + [naming(f"{asset}/2")] * (damage == "a circle")
    try:
        with unchanged(service, project_of(asset)):
            service.refuse("reroute_links", {"to_delete": doomed}, asset)
    finally:
        record.write_bytes(good)
