"""Requests that are not waited for: jobs, over HTTP."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from .accounts import ALICE, BOB
from .conftest import OwnService
from .launch import Process, new_directories
from .service import TIMEOUT, Service, refused, successful

pytestmark = pytest.mark.beyond

FINAL = ("done", "failed", "cancelled")


def keep(service: Service, name: str) -> requests.Response:
    return service.http.post(f"{service.url}/new/{name}?wait=false", timeout=TIMEOUT)


def accepted(service: Service, action: str, payload: object, user: str | None = None) -> str:
    """Have a request kept; the name of its job."""
    response = keep(service, service.write_request(action, payload, user))
    assert response.status_code == 202, response.text
    answer = response.json()
    assert answer["status"] == "ACCEPTED"
    assert response.headers["Location"] == answer["address"]
    assert answer["address"].endswith(f"/jobs/{answer['job']}")
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    return str(answer["job"])


def state_of(service: Service, job: str) -> Any:
    response = service.get(f"/jobs/{job}")
    assert response.status_code == 200, response.text
    return response.json()


def ended(service: Service, job: str) -> Any:
    """The last state of a job."""
    deadline = time.monotonic() + TIMEOUT
    while (state := state_of(service, job))["state"] not in FINAL:
        assert time.monotonic() < deadline, state
        time.sleep(0.02)
    return state


def events(service: Service, job: str) -> Iterator[tuple[str, Any]]:
    """The events of a job, as they come."""
    with service.get(f"/jobs/{job}/events", stream=True) as response:
        assert response.status_code == 200
        assert response.headers["Content-Type"].split(";")[0] == "text/event-stream"
        kind = ""
        for line in response.iter_lines(chunk_size=1, decode_unicode=True):
            name, _, value = line.partition(": ")
            if name == "event":
                kind = value
            elif name == "data":
                yield kind, json.loads(value)


def endless(service: Service, project: str, user: str | None = None) -> dict[str, Any]:
    """An upload that takes longer than any test."""
    payload = service.upload_of(f"{project}/asset/long", {"f": b"1"}, user)
    with (service.staging / payload["source"] / "f").open("r+b") as file:
        file.truncate(32 << 30)
    return payload


def cancel(service: Service, job: str, user: str | None = None) -> requests.Response:
    proof = service.write_request("cancel_job", {"job": job}, user)
    address = f"{service.url}/jobs/{job}?request={proof}"
    return service.http.delete(address, timeout=TIMEOUT)


def wait_until_it_runs(service: Service, job: str) -> None:
    deadline = time.monotonic() + TIMEOUT
    while (state := state_of(service, job))["state"] != "running":
        assert time.monotonic() < deadline, state
        time.sleep(0.02)


def test_it_is_answered_at_once_and_done_later(service: Service) -> None:
    project = service.unique()
    job = accepted(service, "create_project", {"project": project})
    state = ended(service, job)
    assert state["state"] == "done"
    assert state["answer"] == {"status": "SUCCESS", "http_status": 200}
    assert (state["job"], state["action"], state["attempts"]) == (job, "create_project", 1)
    assert service.read(f"{project}/..permissions")


def test_states_and_progress_of_an_upload(service: Service, project: str) -> None:
    files = {"a": b"x" * 10, "d/b": b"y" * 5}
    job = accepted(service, "upload", service.upload_of(f"{project}/asset/1", files))
    state = ended(service, job)
    assert state["state"] == "done"
    progress = state["progress"]
    assert (progress["files"], progress["bytes"]) == (2, 15)
    assert (progress["files_expected"], progress["bytes_expected"]) == (2, 15)
    assert state["submitted"] <= state["started"] <= state["finished"]


def test_a_failed_job_reports_what_a_plain_post_would(service: Service) -> None:
    payload = service.upload_of("no-such-project/asset/1", {"a": b"a"})
    plain = service.submit("upload", payload)
    refused(plain, "no-such-project", status=404)
    state = ended(service, accepted(service, "upload", payload))
    assert state["state"] == "failed"
    assert state["answer"] == {**plain.json(), "http_status": 404}


def test_a_request_is_begun_once_either_way(service: Service) -> None:
    name = service.write_request("health_check", {})
    assert keep(service, name).status_code == 202
    refused(service.post(name), "already being processed", status=400)
    refused(keep(service, name), "already being processed", status=400)
    other = service.write_request("health_check", {})
    successful(service.post(other))
    refused(keep(service, other), "already being processed", status=400)


@pytest.mark.parametrize(
    ("name", "reason"),
    [("whatever", "request-"), ("request-health_check-missing", "does not exist")],
)
def test_what_is_no_request_is_not_kept(service: Service, name: str, reason: str) -> None:
    refused(keep(service, name), reason, status=400)


def test_a_name_that_is_too_long_for_a_job(service: Service) -> None:
    name = service.write_request("health_check", {}, name="request-health_check-" + "n" * 200)
    refused(keep(service, name), "longer than 200 bytes", status=400)
    (service.staging / name).unlink()


@pytest.mark.parametrize(
    "job",
    [
        *("nonsense", "0-request-upload-never", "..", "0-..", "%00", "0-%00", "0-%ff", "0-a%2fb"),
        *("0-" + "a" * 199, "0-" + "a" * 250, "0-" + "a" * 300, "00-request-x-1", "0-x.state"),
        "..%2f..%2fjobs",
    ],
)
def test_what_is_not_known_is_missing(service: Service, job: str) -> None:
    for path in (f"/jobs/{job}", f"/jobs/{job}/events"):
        status, body = service.raw("GET", path)
        assert status == 404, body
        assert json.loads(body)["status"] == "ERROR"


def test_it_is_followed_to_its_end(service: Service, project: str, accounts: None) -> None:
    job = accepted(service, "upload", endless(service, project))
    kinds, sizes = [], set()
    for kind, state in events(service, job):
        assert kind == state["state"]
        if not kinds or kinds[-1] != kind:
            kinds.append(kind)
        sizes.add(state["progress"]["bytes"])
        if len(sizes) == 4:
            successful(cancel(service, job))
    assert kinds[-2:] == ["running", "cancelled"]
    assert sorted(sizes)[-1] < 32 << 30, "it advances within one file"
    assert (state["answer"]["http_status"], state["answer"]["code"]) == (409, "cancelled")
    assert "cancelled" in state["answer"]["reason"]
    assert not (service.registry / project / "asset").exists()
    assert [kind for kind, _ in events(service, job)] == ["cancelled"]


def test_only_who_proves_to_be_its_owner_cancels_it(
    service: Service, project: str, accounts: None
) -> None:
    service.succeed("set_permissions", {"project": project, "permissions": {"owners": [ALICE]}})
    job = accepted(service, "upload", endless(service, project, ALICE), ALICE)
    wait_until_it_runs(service, job)
    address = f"{service.url}/jobs/{job}"
    refused(service.http.delete(address, timeout=TIMEOUT), "only the owner", status=403)
    refused(cancel(service, job, BOB), "another user", status=403)
    other = service.write_request("health_check", {}, ALICE)
    wrong = service.http.delete(f"{address}?request={other}", timeout=TIMEOUT)
    refused(wrong, "cancel_job", status=400)
    for named in ({"job": other}, {"job": f"0-{other}"}, {}, {"job": None}):
        proof = service.write_request("cancel_job", named, ALICE)
        response = service.http.delete(f"{address}?request={proof}", timeout=TIMEOUT)
        refused(response, "job", status=400)
        if named.get("job"):  # it has not been used up, and cancels what it names, if anything
            missing = service.http.delete(f"{service.url}/jobs/{named['job']}?request={proof}")
            assert missing.status_code in (403, 404), missing.text
    missing = service.http.delete(f"{address}?request=request-cancel_job-no", timeout=TIMEOUT)
    refused(missing, "does not exist", status=400)
    assert state_of(service, job)["state"] == "running"
    refused(service.submit("cancel_job", {"job": job}, BOB), "another user", status=403)
    assert state_of(service, job)["state"] == "running"
    successful(cancel(service, job, ALICE))
    assert ended(service, job)["state"] == "cancelled"
    refused(cancel(service, job, ALICE), "has ended", status=400)
    refused(cancel(service, "0-request-upload-never"), "there is no job", status=404)


def test_a_prefix_stands_before_jobs_too(own: OwnService, tmp_path) -> None:
    directories = new_directories(tmp_path / "prefixed")
    with Process(*directories, prefix="/some/where") as process:
        service = Service(process.url, *directories)
        job = accepted(service, "health_check", {})
        assert ended(service, job)["state"] == "done"
        address = keep(service, service.write_request("health_check", {})).headers["Location"]
        assert address.startswith("/some/where/jobs/")
        service.close()


def test_jobs_outlive_the_service_that_took_them(own: OwnService, tmp_path) -> None:
    directories = new_directories(tmp_path / "restarted")
    service = Service("", *directories)
    with Process(*directories, flags=["--jobs=0"]) as first:
        service.url = first.url
        job = accepted(service, "create_project", {"project": "p"})
        time.sleep(0.5)
        assert state_of(service, job)["state"] == "waiting"
        streams = service.get(f"/jobs/{job}/events", stream=True)
        began = time.monotonic()
    # A client that follows a job does not keep the service from stopping.
    assert time.monotonic() - began < 20
    streams.close()
    with Process(*directories) as second:
        service.url = second.url
        assert ended(service, job)["state"] == "done"
        assert os.path.exists(directories[1] / "p")
    service.close()


def test_who_knows_the_name_of_a_job_learns_of_no_other(service: Service) -> None:
    job = accepted(service, "health_check", {})
    ended(service, job)
    listing = accepted(service, "list_jobs", {})
    state = ended(service, listing)
    assert state["state"] == "done"
    assert job not in json.dumps(state)
    for _, event in events(service, listing):
        assert job not in json.dumps(event)
    assert service.get("/jobs").status_code == 404
    assert service.get("/jobs/").status_code == 404
    # The owner finds it all the same.
    names = [found["job"] for found in service.succeed("list_jobs", {})["jobs"]]
    assert {job, listing} <= set(names)
