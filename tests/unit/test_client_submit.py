"""The request file: its name, its permissions, and that it goes away."""

from __future__ import annotations

import os

import pytest
import requests

from gobbler.client import Client
from gobbler.client.errors import NotThere, RequestFailed
from gobbler.client.http import Http
from gobbler.client.staging_directory import StagingDirectory
from gobbler.client.submit import submit
from gobbler.errors import Refused
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
