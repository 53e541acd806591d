"""The request file: its name, its permissions, and that it goes away."""

from __future__ import annotations

import json
import os

import pytest
import requests

from gobbler.client import Client, retry
from gobbler.client.errors import NotThere, RequestFailed
from gobbler.client.http import Http
from gobbler.client.notices import Waiting
from gobbler.client.staging_directory import StagingDirectory
from gobbler.client.submit import submit
from gobbler.errors import Code, Refused
from gobbler.model.requests import action_of


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o007, 0o022, 0o027, 0o077])
def test_the_file_is_there_and_readable_while_the_service_looks(
    web, tmp_path, acting_service, umask
):
    service = acting_service(tmp_path)
    before = os.umask(umask)
    try:
        answer = submit(
            Http(web.url),
            StagingDirectory(str(tmp_path)),
            "upload",
            {"a": "é", "b": None, "c": False},
        )
    finally:
        os.umask(before)
    ((name, mode, content),) = service.requests
    assert answer == {"status": "SUCCESS"}
    assert action_of(name) == "upload"
    assert mode == 0o644
    assert content == {"a": "é", "c": False}
    assert list(tmp_path.iterdir()) == []


def test_it_goes_away_after_an_error(web, tmp_path, acting_service):
    acting_service(tmp_path, 403, '{"status": "ERROR", "reason": "not you"}')
    with pytest.raises(requests.HTTPError, match=r"^not you$"):
        submit(Http(web.url), StagingDirectory(str(tmp_path)), "create_project", {"project": "x"})
    assert list(tmp_path.iterdir()) == []


def test_an_error_with_a_cheerful_status_is_an_error(web, tmp_path, acting_service):
    acting_service(tmp_path, 200, '{"status": "ERROR", "reason": "no"}')
    with pytest.raises(RequestFailed, match=r"^no$"):
        submit(Http(web.url), StagingDirectory(str(tmp_path)), "create_project", {"project": "x"})


def test_it_goes_away_when_nobody_answers(tmp_path):
    with pytest.raises(requests.ConnectionError):
        submit(
            Http("http://127.0.0.1:1"),
            StagingDirectory(str(tmp_path)),
            "create_project",
            {"project": "x"},
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", ["\udcff", object()])
def test_what_is_no_json_is_refused_before_anything_is_written(tmp_path, value):
    with pytest.raises(Refused, match="JSON"):
        submit(
            Http("http://127.0.0.1:1"),
            StagingDirectory(str(tmp_path)),
            "create_project",
            {"project": value},
        )
    assert list(tmp_path.iterdir()) == []


def test_no_staging(tmp_path):
    with pytest.raises(NotThere, match="staging") as caught:
        submit(Http("http://127.0.0.1:1"), StagingDirectory(str(tmp_path / "no")), "upload", {})
    assert "mounted" in caught.value.hint


@pytest.mark.filterwarnings("ignore::gobbler.client.notices.StepFailed")  # nothing to compare with
def test_upload_sends_its_arguments(web, tmp_path, acting_service):
    staging, source = tmp_path / "staging", tmp_path / "source"
    staging.mkdir()
    source.mkdir()
    service = acting_service(staging)
    client = Client(web.url, staging=staging)
    client.upload("p", "a", "v", source, probation=True, spoof="other", ignore_dot=False)
    client.upload("p", "a", "v", client.allocate_upload_directory(), consume=True)
    client.upload("p", "a", "v", client.allocate_upload_directory())
    asked = [request[2] for request in service.requests]
    assert {action_of(request[0]) for request in service.requests} == {"upload"}
    common = {"project": "p", "asset": "a", "version": "v"}
    for request in asked:
        assert request.pop("source").startswith("upload-")
    assert asked == [
        common | {"on_probation": True, "consume": True, "ignore_dot": False, "spoof": "other"},
        common | {"on_probation": False, "consume": True, "ignore_dot": False},
        common | {"on_probation": False, "consume": False, "ignore_dot": False},
    ]


def test_a_bad_name_is_refused_as_the_service_would_before_the_copy(tmp_path):
    client = Client("http://127.0.0.1:1", staging=tmp_path)
    with pytest.raises(requests.HTTPError, match='invalid asset name "a/b"'):
        client.upload("p", "a/b", "v", "/nowhere")


def test_create_project_sends_only_what_is_given(web, tmp_path, acting_service):
    service = acting_service(tmp_path)
    client = Client(web.url, staging=tmp_path)
    client.admin.create_project("p")
    client.admin.create_project("p", owners=("me",), uploaders=[{"id": "you"}])
    client.admin.create_project("p", owners=[], force=True)
    assert [request[2] for request in service.requests] == [
        {"project": "p"},
        {"project": "p", "permissions": {"owners": ["me"], "uploaders": [{"id": "you"}]}},
        {"project": "p", "permissions": {"owners": []}},
    ]


class Crowded:
    """A service that refuses the first requests with ``answers``: a status, a code, and headers."""

    def __init__(self, web, staging, *answers):
        self.web, self.staging = web, staging
        self.answers = list(answers)
        self.requests = []
        web.on_post = self.on_post

    def on_post(self, path):
        name = path.rpartition("/")[2].partition("?")[0]
        self.requests.append((name, json.loads((self.staging / name).read_text())))
        status, code, headers = self.answers.pop(0) if self.answers else (200, "", {})
        body = {"status": "ERROR", "reason": "there is no place", "code": code}
        text = json.dumps(body if code else {"status": "SUCCESS"})
        self.web.put(path, text, status, **{"Content-Type": "application/json", **headers})


@pytest.fixture
def pauses(monkeypatch):
    """The seconds that the client waits, without waiting."""
    slept, now = [], [1000.0]

    def sleep(seconds):
        slept.append(seconds)
        now[0] += seconds

    monkeypatch.setattr(retry.time, "sleep", sleep)
    monkeypatch.setattr(retry.time, "monotonic", lambda: now[0])
    return slept


def sent(web, staging, *, wait=True):
    return submit(Http(web.url), StagingDirectory(str(staging)), "upload", {"a": 1}, wait=wait)


@pytest.mark.parametrize("wait", [True, False])
def test_a_request_that_did_not_begin_is_sent_again_in_a_new_file(web, tmp_path, pauses, wait):
    after = {"Retry-After": "7"}
    service = Crowded(
        web, tmp_path, (503, "busy", after), (503, "stopping", {}), (500, "stopping", after)
    )
    with pytest.warns(Waiting, match="no place.*again") as told:
        assert sent(web, tmp_path, wait=wait) == {"status": "SUCCESS"}
    assert len(told) == 1
    names = [name for name, _ in service.requests]
    assert len(set(names)) == 4
    assert [content for _, content in service.requests] == [{"a": 1}] * 4
    assert pauses == [7.0, 5.0, 7.0]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("after", "pause"),
    [("0", 0.5), ("99999", 30.0), ("Wed, 21 Oct 2026 07:28:00 GMT", 5.0), ("-1", 5.0), ("²", 5.0)],
)
def test_no_service_decides_how_long_the_client_waits(
    web, tmp_path, pauses, monkeypatch, after, pause
):
    monkeypatch.setattr(retry, "REQUEST_SECONDS", 65.0)
    Crowded(web, tmp_path, *[(503, "busy", {"Retry-After": after})] * 1000)
    with pytest.warns(Waiting), pytest.raises(RequestFailed, match="no place") as caught:
        sent(web, tmp_path)
    assert caught.value.code == Code.BUSY
    assert set(pauses) == {pause}
    assert sum(pauses) <= retry.REQUEST_SECONDS
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("status", "code"), [(503, ""), (503, "unhealthy"), (500, "contention"), (400, "busy-bee")]
)
def test_what_may_have_begun_is_not_sent_again(web, tmp_path, pauses, status, code):
    service = Crowded(web, tmp_path, (status, code, {"Retry-After": "1"}))
    with pytest.raises(RequestFailed):
        sent(web, tmp_path)
    assert len(service.requests) == 1
    assert pauses == []


def test_a_service_that_stops_may_be_away_for_a_moment(web, tmp_path, pauses, monkeypatch):
    service = Crowded(web, tmp_path, (503, "stopping", {"Retry-After": "5"}))
    # Requests that are made while nothing listens there; nothing else may be tried again.
    real, away = Http.post, iter([False, True, True, False])

    def post(http, endpoint):
        return real(Http("http://127.0.0.1:1") if next(away) else http, endpoint)

    monkeypatch.setattr(Http, "post", post)
    with pytest.warns(Waiting):
        assert sent(web, tmp_path) == {"status": "SUCCESS"}
    assert len(service.requests) == 2
    assert pauses.count(retry.REQUEST_PAUSE) == 3  # the others are between two connections
