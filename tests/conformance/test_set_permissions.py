"""The action ``set_permissions`` for a project (protocol, section 4)."""

from __future__ import annotations

from typing import Any

import pytest

from .accounts import ALICE, BOB
from .addresses import naming
from .service import Service, refused
from .test_create_project import BAD_UPLOADERS, FUTURE
from .test_records import is_pretty

STORED = {
    "owners": [ALICE, "somebody"],
    "uploaders": [{"id": BOB, "asset": "A", "version": "V", "until": FUTURE, "trusted": True}],
    "global_write": True,
}


@pytest.fixture
def project(service: Service) -> str:
    """A project with permissions of every kind."""
    return service.new_project(**STORED)


def set_and_read(service: Service, project: str, permissions: object) -> dict[str, Any]:
    """What is stored after the administrator has set ``permissions``."""
    service.succeed("set_permissions", naming(project, permissions=permissions))
    return service.read(f"{project}/..permissions")


@pytest.mark.parametrize(
    "given",
    [
        {"owners": ["me"]},
        {"owners": []},
        {"uploaders": [{"id": "u"}]},
        {"uploaders": [{"id": "u", "asset": "a", "version": "v", "trusted": False}]},
        {"uploaders": [{"id": "u", "until": "2020-01-01T00:00:00Z"}, {"id": "u"}]},
        {"uploaders": []},
        {"global_write": False},
        {"owners": ["ü"], "global_write": True},
        {"owners": ["me"], "uploaders": [], "global_write": False},
        {},
    ],
)
def test_each_given_property_replaces_the_stored_one(
    service: Service, project: str, given: dict
) -> None:
    assert set_and_read(service, project, given) == {**STORED, **given}


@pytest.mark.parametrize("field", ["owners", "uploaders", "global_write"])
def test_null_leaves_what_is_stored(service: Service, project: str, field: str) -> None:
    assert set_and_read(service, project, {field: None}) == STORED


def test_null_fields_of_an_uploader_are_left_out(service: Service, project: str) -> None:
    entry = {"id": "u", "asset": None, "version": None, "until": None, "trusted": None}
    assert set_and_read(service, project, {"uploaders": [entry]})["uploaders"] == [{"id": "u"}]


def test_unknown_properties_are_ignored(service: Service, project: str) -> None:
    given = {"colour": "green", "uploaders": [{"id": "u", "mood": "good"}]}
    assert set_and_read(service, project, given) == {**STORED, "uploaders": [{"id": "u"}]}


def test_the_last_request_counts(service: Service, project: str) -> None:
    set_and_read(service, project, {"owners": ["first"], "uploaders": [{"id": "first"}]})
    stored = set_and_read(service, project, {"owners": ["second"]})
    assert stored["owners"] == ["second"]
    assert stored["uploaders"] == [{"id": "first"}]


def test_nothing_else_changes_and_nothing_is_logged(service: Service, project: str) -> None:
    service.upload(f"{project}/asset/1", {"a": b"a"})
    before = service.snapshot(project)
    set_and_read(service, project, {"owners": ["me"]})
    after = service.snapshot(project)
    assert {path for path in after if after[path] != before.get(path)} == {
        f"{project}/..permissions"
    }
    assert set(after) == set(before)


def test_the_file_is_like_every_record(service: Service, project: str) -> None:
    set_and_read(service, project, {"owners": ["me"]})
    path = service.registry / project / "..permissions"
    assert is_pretty(path)
    assert oct(path.stat().st_mode & 0o7777) == oct(0o644)


@pytest.mark.parametrize(("uploader", "field"), BAD_UPLOADERS)
@pytest.mark.parametrize("at", ["", "/asset", "/new"])
class TestAnUploaderThatMakesNoSense:
    def test_is_refused_and_nothing_is_stored(
        self, service: Service, project: str, at: str, uploader: dict, field: str
    ) -> None:
        service.upload(f"{project}/asset/1", {"a": b"a"})
        permissions = {"owners": ["me"], "uploaders": [uploader]}
        before = service.snapshot(project)
        payload = naming(project + at, permissions=permissions)
        refused(service.submit("set_permissions", payload), field, status=400)
        after = service.snapshot(project)
        made = {f"{project}/new"}  # other services may leave the empty directory
        assert {k: v for k, v in after.items() if k not in made} == before

    @pytest.mark.beyond
    def test_is_named_and_leaves_no_trace(
        self, service: Service, project: str, at: str, uploader: dict, field: str
    ) -> None:
        permissions = {"owners": ["me"], "uploaders": [{"id": "fine"}, uploader]}
        payload = naming(project + at, permissions=permissions)
        service.refuse("set_permissions", payload, "uploaders[1]", field, status=400)


@pytest.mark.beyond
def test_an_uploader_that_is_nobody_is_refused(service: Service, project: str) -> None:
    payload = naming(project, permissions={"uploaders": [{"id": ""}]})
    service.refuse("set_permissions", payload, "uploaders[0].id", status=400)


@pytest.mark.parametrize(
    ("permissions", "field"),
    [
        ({"owners": "me"}, "owners"),
        ({"owners": [1]}, "owners"),
        ({"owners": {"me": True}}, "owners"),
        ({"uploaders": "me"}, "uploaders"),
        ({"uploaders": ["me"]}, "uploaders"),
        ({"uploaders": [{"id": 1}]}, "id"),
        ({"uploaders": [{"id": "u", "asset": 1}]}, "asset"),
        ({"uploaders": [{"id": "u", "version": []}]}, "version"),
        ({"uploaders": [{"id": "u", "until": 2050}]}, "until"),
        ({"uploaders": [{"id": "u", "trusted": "yes"}]}, "trusted"),
        ({"global_write": "yes"}, "global_write"),
    ],
)
@pytest.mark.parametrize("at", ["", "/asset"])
def test_a_wrong_type_is_refused(
    service: Service, project: str, at: str, permissions: dict, field: str
) -> None:
    payload = naming(project + at, permissions=permissions)
    service.refuse("set_permissions", payload, field, status=400)


@pytest.mark.usefixtures("accounts")
class TestFromThenOn:
    def test_an_owner_may_do_everything_in_the_project(self, service: Service) -> None:
        project = service.new_project()
        payload = service.upload_of(f"{project}/asset/1", {"a": b"a"}, BOB)
        service.refuse("upload", payload, BOB, status=403, user=BOB)
        set_and_read(service, project, {"owners": [BOB]})
        service.succeed("upload", payload, BOB)
        service.succeed("set_permissions", naming(project, permissions={"owners": []}), BOB)

    def test_an_uploader_may_upload(self, service: Service) -> None:
        project = service.new_project()
        service.upload(f"{project}/asset/1", {"a": b"a"})
        set_and_read(service, project, {"uploaders": [{"id": BOB, "asset": "asset"}]})
        service.upload(f"{project}/asset/2", {"a": b"b"}, BOB)
        assert service.read(f"{project}/asset/2/..summary")["on_probation"] is True

    def test_an_uploader_that_was_taken_out_may_not(self, service: Service) -> None:
        project = service.new_project(uploaders=[{"id": BOB, "trusted": True}])
        service.upload(f"{project}/asset/1", {"a": b"a"}, BOB)
        set_and_read(service, project, {"uploaders": []})
        payload = service.upload_of(f"{project}/asset/2", {"a": b"b"}, BOB)
        service.refuse("upload", payload, BOB, status=403, user=BOB)

    def test_anybody_may_write_a_new_asset_while_it_is_allowed(self, service: Service) -> None:
        project = service.new_project()
        set_and_read(service, project, {"global_write": True})
        service.upload(f"{project}/of bob/1", {"a": b"a"}, BOB)
        set_and_read(service, project, {"global_write": False})
        payload = service.upload_of(f"{project}/also of bob/1", {"a": b"b"}, BOB)
        service.refuse("upload", payload, BOB, status=403, user=BOB)
        service.upload(f"{project}/of bob/2", {"a": b"b"}, BOB)
