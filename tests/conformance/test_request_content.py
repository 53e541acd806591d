"""The JSON of a request (protocol, section 3; section 9, number 7)."""

from __future__ import annotations

import pytest

from .service import Service, refused, successful

LIMIT = 1024 * 1024
"""Bytes that a request file may have."""

UPLOAD = {"project": "p", "asset": "a", "version": "v", "source": "s"}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b'{"project": }',
        b'{"project": "x",}',
        b"{'project': 'x'}",
        b'{"project": "x"} trailing',
        b'{"project": "x", "number": NaN}',
        b'{"project": "\\q"}',
        b"\x00",
    ],
)
@pytest.mark.parametrize("action", ["create_project", "upload"])
def test_what_is_not_json_is_refused(service: Service, action: str, content: bytes) -> None:
    service.refuse(action, content, status=400)


@pytest.mark.parametrize("content", [b"[]", b'"project"', b"5", b"true", b"null"])
@pytest.mark.parametrize("action", ["create_project", "upload"])
def test_what_is_no_object_is_refused(service: Service, action: str, content: bytes) -> None:
    service.refuse(action, content, status=400)


@pytest.mark.parametrize("how", ["absent", "null"])
@pytest.mark.parametrize("field", ["project", "asset", "version", "source"])
def test_an_upload_without_a_field_is_refused(
    service: Service, project: str, field: str, how: str
) -> None:
    payload = service.upload_of(f"{project}/asset/1", {"a": b"a"})
    if how == "null":
        payload[field] = None
    else:
        del payload[field]
    service.refuse("upload", payload, field, status=400)


@pytest.mark.parametrize("payload", [{}, {"project": None}, {"permissions": {}}])
def test_a_project_without_a_name_is_refused(service: Service, payload: dict) -> None:
    service.refuse("create_project", payload, "project", status=400)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("project", 5),
        ("project", ["p"]),
        ("asset", {}),
        ("asset", True),
        ("version", 1.5),
        ("version", ["v"]),
        ("source", True),
        ("source", {"path": "s"}),
        ("on_probation", "yes"),
        ("on_probation", 1),
        ("consume", "true"),
        ("consume", []),
        ("ignore_dot", 0),
        ("ignore_dot", {}),
        ("spoof", 3),
        ("spoof", ["root"]),
    ],
)
def test_a_wrong_type_in_an_upload_is_refused(service: Service, field: str, value: object) -> None:
    service.refuse("upload", {**UPLOAD, field: value}, field, status=400)


@pytest.mark.parametrize(
    ("permissions", "field"),
    [
        ("owner", "permissions"),
        (["owner"], "permissions"),
        ({"owners": "owner"}, "owners"),
        ({"owners": {"owner": True}}, "owners"),
        ({"owners": [1]}, "owners"),
        ({"uploaders": "uploader"}, "uploaders"),
        ({"uploaders": {"id": "uploader"}}, "uploaders"),
        ({"uploaders": ["uploader"]}, "uploaders"),
        ({"uploaders": [{"id": 3}]}, "id"),
        ({"uploaders": [{"id": "u", "asset": 3}]}, "asset"),
        ({"uploaders": [{"id": "u", "version": []}]}, "version"),
        ({"uploaders": [{"id": "u", "until": 2050}]}, "until"),
        ({"uploaders": [{"id": "u", "trusted": "yes"}]}, "trusted"),
        ({"global_write": 1}, "global_write"),
    ],
)
def test_a_wrong_type_in_permissions_is_refused(
    service: Service, permissions: object, field: str
) -> None:
    payload = {"project": service.unique(), "permissions": permissions}
    service.refuse("create_project", payload, field, status=400)


@pytest.mark.beyond
def test_the_reason_names_the_place_deep_inside(service: Service) -> None:
    uploaders = [{"id": "first"}, {"id": "second", "trusted": "yes"}]
    payload = {"project": service.unique(), "permissions": {"uploaders": uploaders}}
    service.refuse("create_project", payload, "uploaders[1].trusted", status=400)


@pytest.mark.beyond
@pytest.mark.parametrize(
    ("template", "field"),
    [
        (b'{"project": "%s", "project": "other"}', "project"),
        (b'{"project": "%s", "permissions": {"owners": [], "owners": ["me"]}}', "owners"),
        (b'{"project": "%s", "permissions": {"uploaders": [{"id": "a", "id": "b"}]}}', "id"),
        (b'{"project": "%s", "ignored": {"twice": 1, "twice": 2}}', "twice"),
        (b'{"project": "%s", "pro\\u006aect": "other"}', "project"),
    ],
)
def test_a_key_that_stands_twice_is_refused(service: Service, template: bytes, field: str) -> None:
    service.refuse("create_project", template % service.unique().encode(), field, status=400)


@pytest.mark.beyond
@pytest.mark.parametrize(
    "template",
    [
        b'{"project": "%s\xff"}',
        b'{"project": "%s\xc3"}',
        b'{"project": "%s\xed\xa0\x80"}',
        b'{"project": "%s", "permissions": {"owners": ["\xfe"]}}',
        b'{"project": "%s", "ignored": "\xff"}',
        b'{"project": "%s\\ud800"}',
    ],
)
def test_what_is_not_utf8_is_refused(service: Service, template: bytes) -> None:
    service.refuse("create_project", template % service.unique().encode(), status=400)


@pytest.mark.beyond
@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
@pytest.mark.parametrize("place", [b"ignored", b"permissions"])
def test_deep_nesting_is_refused(
    service: Service, place: bytes, opening: bytes, closing: bytes
) -> None:
    depth = 100_000
    deep = opening * depth + b"1" + closing * depth
    content = b'{"project": "%s", "%s": %s}' % (service.unique().encode(), place, deep)
    service.refuse("create_project", content, status=400)


@pytest.mark.beyond
def test_a_file_over_1_mib_is_refused(service: Service) -> None:
    content = b'{"project": "%s"}' % service.unique().encode()
    service.refuse("create_project", content.ljust(LIMIT + 1), status=400)


@pytest.mark.beyond
def test_a_huge_sparse_file_is_refused_unread(service: Service) -> None:
    name = service.write_request("create_project", b"")
    path = service.staging / name
    with path.open("wb") as file:
        file.truncate(1 << 36)
    refused(service.post(name, timeout=5), status=400)
    path.unlink()


def test_a_file_of_just_1_mib_is_accepted(service: Service) -> None:
    content = b'{"project": "%s"}' % service.unique().encode()
    name = service.write_request("create_project", content.ljust(LIMIT))
    successful(service.post(name))
    (service.staging / name).unlink()
