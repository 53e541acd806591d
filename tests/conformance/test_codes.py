"""Every error answer has a ``code``, on which programs decide (protocol, section 10)."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import pytest
import requests

from .accounts import ALICE
from .service import Service

pytestmark = pytest.mark.beyond


def code_of(response: requests.Response) -> str:
    """The code of an error answer."""
    answer = response.json()
    assert answer["status"] == "ERROR"
    assert answer["reason"]
    code: str = answer["code"]
    return code


def repeated(service: Service) -> requests.Response:
    name = service.write_request("health_check", {})
    service.post(name)
    return service.post(name)


def expired(service: Service) -> requests.Response:
    name = service.write_request("health_check", {})
    os.utime(service.staging / name, (time.time() - 100,) * 2)
    return service.post(name)


def linked(service: Service) -> requests.Response:
    name = service.write_request("health_check", {})
    other = f"request-health_check-{service.unique()}"
    os.link(service.staging / name, service.staging / other)
    return service.post(other)


def symbolic(service: Service) -> requests.Response:
    name = f"request-health_check-{service.unique()}"
    (service.staging / name).symlink_to(service.write_request("health_check", {}))
    return service.post(name)


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (repeated, "repeated-request"),
        (expired, "expired-request"),
        (linked, "hard-link"),
        (symbolic, "symbolic-link"),
        (lambda service: service.post("request-health_check-absent"), "missing-request"),
        (lambda service: service.submit("frobnicate", {}), "unknown-action"),
        (lambda service: service.submit("create_project", b"{"), "malformed-request"),
        (lambda service: service.submit("create_project", {"project": "a/b"}), "invalid-name"),
    ],
)
def test_a_request_file_that_is_refused(
    service: Service, make: Callable[[Service], requests.Response], code: str
) -> None:
    assert code_of(make(service)) == code


@pytest.mark.usefixtures("accounts")
def test_what_a_user_may_not_do(service: Service) -> None:
    project = service.unique()
    response = service.submit("create_project", {"project": project}, user=ALICE)
    assert (response.status_code, code_of(response)) == (403, "not-allowed")


def test_a_job(service: Service) -> None:
    name = service.write_request("refresh_usage", {"project": "absent"})
    job = service.http.post(f"{service.url}/new/{name}?wait=false", timeout=60).json()["job"]
    deadline = time.monotonic() + 60
    while "answer" not in (state := service.get(f"/jobs/{job}").json()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert state["answer"]["code"] == "project-not-found"
    assert state["answer"]["http_status"] == 404


def upload(**changes: Any) -> Callable[[Service, str], requests.Response]:
    """An upload to version 2 of a project, with ``changes``."""

    def submit(service: Service, project: str) -> requests.Response:
        payload = service.upload_of(f"{project}/a/2", {"f": b"f"})
        return service.submit("upload", {**payload, **changes})

    return submit


@pytest.mark.parametrize(
    ("submit", "code"),
    [
        (lambda s, p: s.submit("create_project", {"project": p}), "project-exists"),
        (upload(version="1"), "version-exists"),
        (upload(project="absent"), "project-not-found"),
        (upload(source="absent"), "missing-source"),
        (
            lambda s, p: s.submit(
                "approve_probation", {"project": p, "asset": "a", "version": "1"}
            ),
            "not-on-probation",
        ),
        (
            lambda s, p: s.submit("validate_version", {"project": p, "asset": "a", "version": "9"}),
            "version-not-found",
        ),
        (lambda s, p: s.submit("refresh_usage", {"project": f"{p}x"}), "project-not-found"),
        (
            lambda s, p: s.submit("refresh_latest", {"project": p, "asset": "absent"}),
            "asset-not-found",
        ),
    ],
)
def test_what_an_action_refuses(
    service: Service, submit: Callable[[Service, str], requests.Response], code: str
) -> None:
    project = service.new_project()
    service.upload(f"{project}/a/1", {"f": b"f"})
    assert code_of(submit(service, project)) == code


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/fetch/{p}/a/1/absent", 404, "file-not-found"),
        ("GET", "/fetch/{p}/a/1", 404, "not-a-file"),
        ("GET", "/fetch/../secret", 400, "invalid-name"),
        ("GET", "/list?path={p}/absent", 404, "file-not-found"),
        ("GET", "/list?path=../..", 400, "invalid-name"),
        ("GET", "/list?path={p}/a/1/f", 400, "not-a-directory"),
        ("GET", "/archive/{p}/a/1", 400, "invalid-request"),
        ("GET", "/archive/{p}/a/9.tar", 404, "file-not-found"),
        ("GET", "/links/{p}/a/9", 404, "version-not-found"),
        ("GET", "/links/{p}", 400, "invalid-name"),
        ("GET", "/jobs/1-request-upload-absent", 404, "job-not-found"),
        ("DELETE", "/jobs/1-request-upload-absent", 403, "not-allowed"),
        ("GET", "/absent", 404, "unknown-endpoint"),
        ("PUT", "/info", 405, "method-not-allowed"),
        ("POST", "/fetch/{p}/a/1/f", 405, "method-not-allowed"),
    ],
)
def test_an_endpoint(service: Service, method: str, path: str, status: int, code: str) -> None:
    project = service.new_project()
    service.upload(f"{project}/a/1", {"f": b"f"})
    parts = requests.Request(method, service.url + path.format(p=project)).prepare()
    parts.url = service.url + path.format(p=project)  # as it is, with its dots
    response = service.http.send(parts, timeout=60)
    assert (response.status_code, code_of(response)) == (status, code)


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"If-Match": '"other"'}, 412, "precondition-failed"),
        ({"Range": "bytes=100-"}, 416, "invalid-range"),
    ],
)
def test_a_part_of_a_file(
    service: Service, headers: dict[str, str], status: int, code: str
) -> None:
    project = service.new_project()
    service.upload(f"{project}/a/1", {"f": b"f"})
    response = service.fetch(f"{project}/a/1/f", headers=headers)
    assert (response.status_code, code_of(response)) == (status, code)
    assert response.headers["ETag"]
