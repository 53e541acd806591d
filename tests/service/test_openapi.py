"""What /openapi.json says is what the service does."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from openapi_spec_validator import OpenAPIV31SpecValidator
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from gobbler.actions import ACTIONS
from gobbler.client import Client
from gobbler.client.testing import TestService
from gobbler.model.answers import ACTION_DOCS
from gobbler.service.openapi import description, paths

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    unsupported_method,
]

PREFIX = "/data"


@pytest.fixture(scope="module")
def served() -> Any:
    running = TestService(extra_args=["--prefix", PREFIX, "--jobs", "0"])
    try:
        client = Client(running.url + PREFIX, staging=running.staging, registry=running.registry)
        source = Path(client.allocate_upload_directory())
        (source / "x.txt").write_text("0123456789")
        client.admin.create_project("p")
        client.upload("p", "a", "1", source)
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="module")
def url(served: TestService) -> str:
    return served.url + PREFIX


@pytest.fixture(scope="module")
def described(url: str) -> dict[str, Any]:
    answer = requests.get(url + "/openapi.json", timeout=30)
    assert answer.headers["content-type"] == "application/json"
    found: dict[str, Any] = answer.json()
    return found


def test_it_is_valid(described):
    assert list(OpenAPIV31SpecValidator(described).iter_errors()) == []
    assert described["servers"] == [{"url": PREFIX}]
    assert described["paths"] == description()["paths"]


def test_every_action_is_documented(described):
    assert set(described["x-actions"]) == set(ACTIONS) == set(ACTION_DOCS)
    schemas = described["components"]["schemas"]
    for name, action in described["x-actions"].items():
        for part in ("request", "answer"):
            assert action[part]["$ref"].rpartition("/")[2] in schemas, name


def test_every_endpoint_is_documented(url):
    """What is not described is not there, and the other way round."""
    for path, operations in paths().items():
        full = path.format(path="p/a/1/x.txt", request="request-x", job="1-request-x")
        for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
            status = requests.request(method, url + full, timeout=30).status_code
            assert (status != 405) == (method.lower() in operations), f"{method} {full}"
    assert requests.get(url + "/else", timeout=30).status_code == 404


@pytest.mark.parametrize("path", ["/new/request-x", "/fetch/p/a/1/x.txt", "/info", "/jobs/1-x"])
def test_a_wrong_method_gets_the_right_ones(url, path):
    answer = requests.put(url + path, timeout=30)
    assert answer.status_code == 405
    assert "PUT" in answer.json()["reason"]
    allowed = set(answer.headers["allow"].split(", "))
    assert allowed
    for method in allowed:
        assert requests.request(method, url + path, timeout=30).status_code != 405


def test_what_is_generated_is_answered_as_described(url, described):
    """Every operation with good and, where there can be such, bad input; the same in every run."""
    schema = schemathesis.openapi.from_dict(described)
    tried = []
    for result in schema.get_all_operations():
        operation = result.ok()
        for mode in _modes(operation.definition.raw):
            tried.append((operation.label, mode))
            _try(operation.as_strategy(generation_mode=mode), url)
    assert {label for label, _ in tried} == {
        f"{method.upper()} {path}" for path, operations in paths().items() for method in operations
    }
    assert len([mode for _, mode in tried if mode.is_negative]) >= 5


def _modes(operation: dict[str, Any]) -> list[schemathesis.GenerationMode]:
    """Any text may stand in a path; only what is not just text can be wrong."""
    reported = [p["schema"] for p in operation.get("parameters", []) if p["in"] == "query"]
    can_be_wrong = any(schema.get("enum") or schema["type"] != "string" for schema in reported)
    positive, negative = schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE
    return [positive, negative] if can_be_wrong else [positive]


def _try(strategy: Any, url: str) -> None:
    session = requests.Session()
    failures: list[str] = []

    @settings(
        max_examples=8,
        database=None,
        derandomize=True,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=strategy)
    def once(case: Any) -> None:
        try:
            case.call_and_validate(base_url=url, checks=CHECKS, session=session)
        except (Failure, FailureGroup) as failure:
            failures.append(str(failure))

    with session:
        once()
    assert not failures, failures[0]


Sample = tuple[str, str, int, str, dict[str, str]]

FILE = "/fetch/p/a/1/x.txt"
OTHER = {"If-Match": '"other"'}

SAMPLES: list[Sample] = [
    ("get", "/", 200, "/", {}),
    ("get", "/info", 200, "/info", {}),
    ("get", "/openapi.json", 200, "/openapi.json", {}),
    ("get", "/list", 200, "/list?path=p/a&recursive=true", {}),
    ("get", "/list", 400, "/list?path=../x", {}),
    ("get", "/list", 404, "/list?path=nowhere", {}),
    ("get", "/fetch/{path}", 200, FILE, {}),
    ("get", "/fetch/{path}", 206, FILE, {"Range": "bytes=2-4"}),
    ("get", "/fetch/{path}", 304, FILE, {"If-None-Match": "*"}),
    ("get", "/fetch/{path}", 400, "/fetch/p/..%2F..%2F..%2Fx", {}),
    ("get", "/fetch/{path}", 404, "/fetch/p/a/1/y.txt", {}),
    ("get", "/fetch/{path}", 412, FILE, OTHER),
    ("get", "/fetch/{path}", 416, FILE, {"Range": "bytes=20-"}),
    ("get", "/archive/{path}.tar", 200, "/archive/p/a/1.tar?links=links&max_size=5", {}),
    ("get", "/archive/{path}.tar", 400, "/archive/p/a/1.tar?max_size=-1", {}),
    ("get", "/archive/{path}.tar", 404, "/archive/p/a/2.tar", {}),
    ("get", "/links/{path}", 200, "/links/p/a/1", {}),
    ("get", "/links/{path}", 400, "/links/p/a", {}),
    ("get", "/links/{path}", 404, "/links/p/a/2", {}),
    ("get", "/health", 200, "/health", {}),
    ("get", "/metrics", 200, "/metrics", {}),
    ("post", "/new/{request}", 200, "/new/{health_check}", {}),
    ("post", "/new/{request}", 202, "/new/{health_check}?wait=false", {}),
    ("post", "/new/{request}", 400, "/new/request-none-1", {}),
    ("post", "/new/{request}", 403, "/new/{upload}", {}),
    ("post", "/new/{request}", 404, "/new/{refresh_usage}", {}),
    ("get", "/jobs/{job}", 200, "/jobs/{job}", {}),
    ("get", "/jobs/{job}", 404, "/jobs/1-request-none-1", {}),
    ("get", "/jobs/{job}/events", 200, "/jobs/{job}/events", {}),
    ("get", "/jobs/{job}/events", 404, "/jobs/1-request-none-1/events", {}),
    ("delete", "/jobs/{job}", 200, "/jobs/{job}?request={cancel_job}", {}),
    ("delete", "/jobs/{job}", 400, "/jobs/{job}?request=request-none-1", {}),
    ("delete", "/jobs/{job}", 403, "/jobs/{job}", {}),
    ("delete", "/jobs/{job}", 404, "/jobs/1-request-none-1?request={cancel_job}", {}),
]
"""What brings about each answer; in braces: a new request file, or a job that waits."""

FIELDS: dict[str, dict[str, Any]] = {
    "health_check": {},
    "upload": {"project": "p", "asset": "a", "version": "9", "source": "?", "spoof": "nobody"},
    "refresh_usage": {"project": "nowhere"},
}


def test_every_documented_status_has_a_sample(described):
    """But for 500 and 503, of a service with problems, and for what is the same without a body."""
    reported = {
        (method, path, int(status))
        for path, operations in described["paths"].items()
        for method, operation in operations.items()
        if method not in ("head", "options")
        for status in operation["responses"]
        if status not in ("500", "503")
    }
    assert reported == {sample[:3] for sample in SAMPLES}


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda s: f"{s[0]} {s[1]} {s[2]}")
def test_the_samples(served, url, described, sample):
    method, path, status, where, headers = sample
    where = _filled(served, url, where)
    _check(described, method, path, status, url + where, headers)
    if method == "get":
        _check(described, "head", path, status, url + where, headers)
        _check(described, "options", path, 204, url + where, headers)


def _filled(served: TestService, url: str, where: str) -> str:
    """``where`` with new request files, and a new job, in the places of their names."""
    if "{job}" in where:
        job = Client(url, staging=served.staging).connection.start("health_check")
        where = where.replace("{job}", job.name)
    job_named = where.partition("?")[0].removeprefix("/jobs/")
    for action, fields in {**FIELDS, "cancel_job": {"job": job_named}}.items():
        if f"{{{action}}}" in where:
            name = f"request-{action}-{secrets.token_hex(6)}"
            Path(served.staging, name).write_text(json.dumps(fields))
            where = where.replace(f"{{{action}}}", name)
    return where


def _check(
    described: dict[str, Any],
    method: str,
    path: str,
    status: int,
    url: str,
    headers: dict[str, str],
) -> None:
    """Ask, and hold the answer against the description."""
    with requests.request(method, url, headers=headers, stream=True, timeout=30) as answer:
        assert answer.status_code == status, answer.text
        reported = described["paths"][path][method]["responses"][str(status)]
        for header in reported["headers"]:
            assert header in answer.headers, header
        content = reported.get("content", {})
        media_type = answer.headers.get("content-type", "").partition(";")[0]
        if content and "*/*" not in content:
            assert media_type in content
        if "application/json" in content:
            schema = content["application/json"]["schema"]
            validator(described, schema).validate(answer.json())
        if method == "head":
            assert answer.content == b""


def validator(described: dict[str, Any], part: dict[str, Any]) -> Any:
    return jsonschema.Draft202012Validator({**part, "components": described["components"]})


EXAMPLES: list[tuple[str, dict[str, Any]]] = [
    ("health_check", {}),
    ("create_project", {"project": "q", "permissions": {"uploaders": [{"id": "alan"}]}}),
    ("set_permissions", {"project": "q", "permissions": {"global_write": None, "owners": ["a"]}}),
    ("check_upload", {"project": "q", "asset": "a", "version": "1", "spoof": None}),
    ("upload", {"project": "q", "asset": "a", "version": "1", "source": "?"}),
    (
        "upload",
        {"project": "q", "asset": "a", "version": "2", "source": "?", "on_probation": True},
    ),
    ("approve_probation", {"project": "q", "asset": "a", "version": "2"}),
    ("upload", {"project": "q", "asset": "a", "version": "3", "source": "?", "on_probation": True}),
    ("reject_probation", {"project": "q", "asset": "a", "version": "3", "force": None}),
    ("validate_version", {"project": "q", "asset": "a", "version": "1"}),
    ("reindex_version", {"project": "q", "asset": "a", "version": "1"}),
    ("refresh_latest", {"project": "q", "asset": "a"}),
    ("refresh_latest", {"project": "p", "asset": "a"}),
    ("refresh_usage", {"project": "q"}),
    ("reroute_links", {"to_delete": [{"project": "q", "asset": "a", "version": "1"}]}),
    ("delete_version", {"project": "q", "asset": "a", "version": "1"}),
    ("delete_asset", {"project": "q", "asset": "a", "force": True}),
    ("delete_project", {"project": "q"}),
    ("list_jobs", {"all": True}),
    ("cancel_job", {"job": "?"}),
]
"""Requests that succeed one after the other; `?` is put in."""


def test_requests_and_their_answers_are_as_described(served, url, described):
    client = Client(url, staging=served.staging, registry=served.registry)
    waiting = client.connection.start("health_check")  # for ever: nobody works on jobs
    assert {name for name, _ in EXAMPLES} == set(ACTIONS)
    for name, example in EXAMPLES:
        fields = dict(example)
        if fields.get("source") == "?":
            source = Path(client.allocate_upload_directory())
            (source / "x").write_text("x")
            fields["source"] = source.name
        if fields.get("job") == "?":
            fields["job"] = waiting.name
        reported = described["x-actions"][name]
        validator(described, reported["request"]).validate(fields)
        answer = client.connection.request(name, **fields)
        validator(described, reported["answer"]).validate(answer)
        known = described["components"]["schemas"][reported["answer"]["$ref"].rpartition("/")[2]]
        assert set(answer) <= set(known["properties"]), f"{name} answers more than is documented"


def test_what_is_refused_is_refused_by_the_schema_too(served, url, described):
    for name, fields in [
        ("create_project", {}),
        ("create_project", {"project": 1}),
        ("set_permissions", {"project": "p", "permissions": {"owners": "ada"}}),
        ("reroute_links", {"to_delete": [{"asset": "a"}]}),
    ]:
        reported = described["x-actions"][name]
        assert not validator(described, reported["request"]).is_valid(fields)
        file = f"request-{name}-{secrets.token_hex(6)}"
        Path(served.staging, file).write_text(str(fields).replace("'", '"'))
        answer = requests.post(f"{url}/new/{file}", timeout=30)
        os.unlink(Path(served.staging, file))
        assert answer.status_code == 400
        failure = {"$ref": "#/components/schemas/Failure"}
        validator(described, failure).validate(answer.json())


def test_records_are_as_described(url, described):
    for path, name in {
        "p/a/1/..manifest": "Manifest",
        "p/a/1/..summary": "Summary",
        "p/a/..latest": "Latest",
        "p/..permissions": "Permissions",
        "p/..usage": "Usage",
        "p/..quota": "Quota",
    }.items():
        record = requests.get(f"{url}/fetch/{path}", timeout=30).json()
        validator(described, {"$ref": f"#/components/schemas/{name}"}).validate(record)
        assert record
