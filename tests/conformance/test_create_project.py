"""The action ``create_project`` (protocol, sections 1, 2 and 4)."""

from __future__ import annotations

import datetime as dt

import pytest

from .accounts import ALICE, BOB
from .launch import present_user
from .service import Service, refused

FUTURE = "2099-12-31T23:59:59+01:00"

BAD_NAMES = ["", "a/b", "/", "a\\b", "\\", "..", "../x", "..x", "..logs", "..incoming", "..."]

NAMES_WE_REFUSE_TOO = [
    ".",
    "a\0b",
    "a\nb",
    "tab\t",
    "\x1b[31mred",
    "del\x7f",
    "c1\x85",
    "x" * 256,
    "é" * 128,
]

GOOD_NAMES = [" ", "a b", ".hidden", "a..b", "x..", "-rf", "ü", "日本", "a%2Fb", "a+b", "a'\"&<>*?"]


BAD_UPLOADERS = [
    ({}, "id"),
    ({"asset": "a"}, "id"),
    ({"id": None}, "id"),
    ({"id": "u", "until": ""}, "until"),
    ({"id": "u", "until": "tomorrow"}, "until"),
    ({"id": "u", "until": "2099-12-31"}, "until"),
    ({"id": "u", "until": "2099-12-31T23:59:59"}, "until"),
    ({"id": "u", "until": "2099-12-31 23:59:59Z"}, "until"),
    ({"id": "u", "until": "2099-13-31T23:59:59Z"}, "until"),
    ({"id": "u", "until": "2099-12-31T23:59:59+01"}, "until"),
]


def test_a_project_belongs_to_who_asked_for_it(service: Service) -> None:
    project = service.unique()
    service.succeed("create_project", {"project": project})
    permissions = service.read(f"{project}/..permissions")
    assert permissions == {"owners": [present_user()], "uploaders": []}


def test_a_new_project_uses_nothing_and_has_the_usual_quota(service: Service, project: str) -> None:
    assert service.read(f"{project}/..usage") == {"total": 0}
    year = dt.datetime.now(dt.timezone.utc).year
    quota = service.read(f"{project}/..quota")
    assert abs(quota.pop("year") - year) <= 1
    assert quota == {"baseline": 1_000_000_000, "growth_rate": 1_000_000_000}


def test_a_new_project_holds_only_internal_files_and_is_not_logged(
    service: Service, project: str
) -> None:
    names = {path.name for path in (service.registry / project).iterdir()}
    assert {"..permissions", "..usage", "..quota"} <= names
    assert all(name.startswith("..") for name in names)
    assert service.logs(project) == []


@pytest.mark.parametrize(
    "permissions",
    [
        {"owners": ["someone", "someone else"]},
        {"owners": []},
        {"uploaders": [{"id": "u"}]},
        {"uploaders": [{"id": "u", "asset": "a", "version": "v", "until": FUTURE}]},
        {"uploaders": [{"id": "u", "trusted": True}, {"id": "u", "trusted": False}]},
        {"uploaders": [{"id": "u", "until": "2020-01-01T00:00:00Z"}]},
        {"global_write": True},
        {"global_write": False},
        {"owners": ["ü"], "uploaders": [{"id": "u"}], "global_write": True},
    ],
)
def test_given_permissions_are_stored(service: Service, permissions: dict) -> None:
    project = service.new_project(**permissions)
    default = {"owners": [present_user()], "uploaders": []}
    assert service.read(f"{project}/..permissions") == {**default, **permissions}


def test_null_stands_for_what_is_absent(service: Service) -> None:
    project = service.unique()
    service.succeed("create_project", {"project": project, "permissions": None})
    assert service.read(f"{project}/..permissions")["owners"] == [present_user()]


def test_null_reads_as_an_empty_array_and_null_fields_are_left_out(service: Service) -> None:
    project = service.new_project(uploaders=None, global_write=None)
    stored = service.read(f"{project}/..permissions")
    assert stored == {"owners": [present_user()], "uploaders": []}
    entry = {"id": "u", "asset": None, "version": None, "until": None, "trusted": None}
    project = service.new_project(uploaders=[entry])
    assert service.read(f"{project}/..permissions")["uploaders"] == [{"id": "u"}]


def test_unknown_fields_of_permissions_are_ignored(service: Service) -> None:
    project = service.new_project(colour="green", uploaders=[{"id": "u", "mood": "good"}])
    stored = service.read(f"{project}/..permissions")
    assert stored == {"owners": [present_user()], "uploaders": [{"id": "u"}]}


def test_a_project_that_exists_is_refused_and_left_alone(service: Service, project: str) -> None:
    payload = {"project": project, "permissions": {"owners": ["intruder"]}}
    service.refuse("create_project", payload, project, status=400)


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_bad_name_is_refused(service: Service, name: str) -> None:
    service.refuse("create_project", {"project": name}, "project", status=400)


@pytest.mark.beyond
@pytest.mark.parametrize("name", NAMES_WE_REFUSE_TOO)
def test_a_name_that_only_we_call_bad_is_refused(service: Service, name: str) -> None:
    service.refuse("create_project", {"project": name}, "project", status=400)


@pytest.mark.parametrize("start", GOOD_NAMES)
def test_any_other_name_is_good(service: Service, start: str) -> None:
    project = start + service.unique()
    service.succeed("create_project", {"project": project})
    assert (service.registry / project / "..permissions").is_file()


def test_a_name_may_have_255_bytes(service: Service) -> None:
    project = service.unique().ljust(255, "x")
    service.succeed("create_project", {"project": project})
    assert (service.registry / project / "..permissions").is_file()


@pytest.mark.parametrize(("uploader", "field"), BAD_UPLOADERS)
class TestAnUploaderThatMakesNoSense:
    def test_is_refused_and_no_permissions_are_stored(
        self, service: Service, uploader: dict, field: str
    ) -> None:
        payload = {"project": service.unique(), "permissions": {"uploaders": [uploader]}}
        refused(service.submit("create_project", payload), field, status=400)
        assert not (service.registry / payload["project"] / "..permissions").exists()

    @pytest.mark.beyond
    def test_leaves_no_trace(self, service: Service, uploader: dict, field: str) -> None:
        uploaders = [{"id": "fine"}, uploader]
        payload = {"project": service.unique(), "permissions": {"uploaders": uploaders}}
        service.refuse("create_project", payload, "uploaders[1]", status=400)
        service.succeed("create_project", {"project": payload["project"]})


@pytest.mark.usefixtures("accounts")
@pytest.mark.parametrize("permissions", [None, {"owners": [ALICE]}, {"global_write": True}])
def test_only_an_administrator_may_create_a_project(
    service: Service, permissions: dict | None
) -> None:
    payload = {"project": service.unique(), "permissions": permissions}
    service.refuse("create_project", payload, ALICE, status=403, user=ALICE)


@pytest.mark.usefixtures("accounts")
def test_a_name_written_inside_the_request_makes_nobody_an_administrator(service: Service) -> None:
    admin = present_user()
    payload = {"project": service.unique(), "user": admin, "owner": admin, "spoof": admin}
    service.refuse("create_project", payload, BOB, status=403, user=BOB)
