"""The request file itself: its name, its kind, its age (protocol, section 3)."""

from __future__ import annotations

import os
import socket
import stat
import time
from pathlib import Path

import pytest

from .accounts import ALICE, NOBODYS_UID
from .service import Service, refused, successful

PROMPT = 5.0
"""Seconds within which a file that could block for ever must have been refused."""


def test_health_check_succeeds(service: Service) -> None:
    assert service.succeed("health_check", {}) == {"status": "SUCCESS"}


@pytest.mark.usefixtures("accounts")
def test_anyone_may_check_the_health(service: Service) -> None:
    service.succeed("health_check", {}, user=ALICE)


def test_an_unknown_field_is_ignored(service: Service) -> None:
    service.succeed("health_check", {"colour": "green", "nested": [{"deep": None}]})


def test_the_answer_is_json_and_readable_from_any_page(service: Service) -> None:
    response = service.submit("health_check", {})
    assert response.headers["Content-Type"].split(";")[0] == "application/json"
    assert response.headers["Access-Control-Allow-Origin"] == "*"


def test_the_anything_of_a_name_may_hold_dashes_spaces_and_any_letter(service: Service) -> None:
    name = service.write_request(
        "health_check", {}, name=f"request-health_check-a b-日本+%41-{service.unique()}"
    )
    successful(service.post(name))


@pytest.mark.parametrize("action", ["frobnicate", "Upload", "upload ", "", "health_check "])
def test_an_unknown_action_is_refused(service: Service, action: str) -> None:
    service.refuse(action, {}, status=400)


@pytest.mark.beyond
def test_the_reason_names_the_unknown_action(service: Service) -> None:
    service.refuse("frobnicate", {}, "frobnicate", status=400)


def test_a_name_without_the_anything_is_refused(service: Service) -> None:
    name = service.write_request("", {}, name="request-health_check")
    try:
        refused(service.post(name), status=400)
    finally:
        (service.staging / name).unlink()


@pytest.mark.parametrize("start", ["health_check-", "Request-health_check-", ".request-", ""])
def test_a_name_that_does_not_start_with_request_is_refused(service: Service, start: str) -> None:
    name = service.write_request("", {}, name=start + service.unique())
    refused(service.post(name), "request-", status=400)


@pytest.mark.parametrize(
    "target",
    [
        "request-health_check-x%2Fy",
        "request-health_check-x%2F..%2Fy",
        "%2E%2E%2Frequest-health_check-x",
        "request-health_check-%2F..%2F..%2F..%2Fetc%2Fpasswd",
        "%2Frequest-health_check-x",
        "request-health_check-%00",
        "request-health_check-%FF",
        "request-health_check-" + "x" * 300,
    ],
)
def test_a_name_that_is_no_plain_file_name_is_refused(service: Service, target: str) -> None:
    status, body = service.raw("POST", "/new/" + target)
    assert status == 400, body
    assert b'"ERROR"' in body


def test_a_path_to_a_request_in_a_subdirectory_is_refused(service: Service) -> None:
    directory = service.stage({"request-health_check-x": b"{}"})
    status, _ = service.raw("POST", f"/new/{directory}%2Frequest-health_check-x")
    assert status == 400


def test_a_missing_request_file_is_refused(service: Service) -> None:
    name = f"request-health_check-{service.unique()}"
    refused(service.post(name), name, status=400)


def test_a_directory_is_refused(service: Service) -> None:
    name = f"request-health_check-{service.unique()}"
    (service.staging / name).mkdir()
    refused(service.post(name), "directory", status=400)


@pytest.mark.parametrize("in_staging", [True, False])
def test_a_symbolic_link_is_refused(service: Service, tmp_path: Path, in_staging: bool) -> None:
    target = (service.staging if in_staging else tmp_path) / service.unique()
    target.write_text("{}")
    name = f"request-health_check-{service.unique()}"
    (service.staging / name).symlink_to(target)
    refused(service.post(name), "symbolic link", status=400)


def test_a_file_with_a_second_hard_link_is_refused(service: Service) -> None:
    name = service.write_request("health_check", {})
    os.link(service.staging / name, service.staging / service.unique())
    refused(service.post(name), "hard link", status=400)


@pytest.mark.parametrize("age", [60.1, 61, 3600, 10**9])
def test_a_file_last_modified_a_minute_ago_is_expired(service: Service, age: float) -> None:
    name = service.write_request("health_check", {})
    then = time.time() - age
    os.utime(service.staging / name, (then, then))
    refused(service.post(name), "request file is expired", status=400)


@pytest.mark.parametrize("age", [30, 0, -3600])
def test_a_file_modified_within_the_minute_is_accepted(service: Service, age: int) -> None:
    name = service.write_request("health_check", {})
    then = time.time() - age
    os.utime(service.staging / name, (then, then))
    successful(service.post(name))


@pytest.mark.beyond
@pytest.mark.parametrize("action", ["health_check", "create_project", "upload"])
def test_a_fifo_is_refused_at_once(service: Service, action: str) -> None:
    name = f"request-{action}-{service.unique()}"
    os.mkfifo(service.staging / name)
    refused(service.post(name, timeout=PROMPT), name, status=400)


@pytest.mark.beyond
def test_a_socket_is_refused_at_once(service: Service) -> None:
    name = f"request-health_check-{service.unique()}"
    directory = os.open(service.staging, os.O_RDONLY)
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(f"/proc/self/fd/{directory}/{name}")
            listener.listen()
            refused(service.post(name, timeout=PROMPT), name, status=400)
    finally:
        os.close(directory)


@pytest.mark.beyond
def test_a_device_is_refused_at_once(service: Service) -> None:
    name = f"request-health_check-{service.unique()}"
    try:
        os.mknod(service.staging / name, stat.S_IFCHR | 0o666, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("only root can make a device")
    refused(service.post(name, timeout=PROMPT), name, status=400)


@pytest.mark.beyond
@pytest.mark.usefixtures("accounts")
def test_a_request_whose_owner_has_no_account_is_not_allowed(service: Service) -> None:
    name = service.write_request("health_check", {})
    os.chown(service.staging / name, NOBODYS_UID, -1)
    refused(service.post(name), str(NOBODYS_UID), status=403)
    service.succeed("health_check", {})
