"""What stands in a request file (protocol, section 3 and section 9, number 7)."""

from __future__ import annotations

import contextlib
import inspect
import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from gobbler.actions import ACTIONS
from gobbler.errors import Refused
from gobbler.model import requests
from gobbler.model.ignored import ignored_fields
from gobbler.model.json_structure import (
    MAX_DEPTH,
    QUICK_BYTES,
    depth_exceeds,
    duplicate_key,
)
from gobbler.model.requests import (
    MAX_REQUEST_BYTES,
    CreateProject,
    HealthCheck,
    Upload,
    action_of,
    decode_request,
)

UPLOAD = {"project": "p", "asset": "a", "version": "v", "source": "s"}


@pytest.mark.parametrize(
    ("name", "action"),
    [
        ("request-upload-1", "upload"),
        ("request-upload-", "upload"),
        ("request-upload-a-b-c", "upload"),
        ("request-create_project-x", "create_project"),
        ("request--x", ""),
        ("request-upload", None),
        ("request-", None),
        ("Request-upload-1", None),
        ("upload-1", None),
        ("", None),
    ],
)
def test_the_action_stands_between_the_first_two_dashes(name: str, action: str | None) -> None:
    assert action_of(name) == action


@pytest.mark.parametrize("field", sorted(UPLOAD))
def test_a_missing_field_is_refused_by_name(field: str) -> None:
    data = json.dumps({key: value for key, value in UPLOAD.items() if key != field}).encode()
    with pytest.raises(Refused, match=f"`{field}`"):
        decode_request(data, Upload)


def test_unknown_fields_are_ignored_and_null_is_absent() -> None:
    data = {**UPLOAD, "consume": None, "spoof": None, "later": {"deep": [1, {"x": None}]}}
    assert decode_request(json.dumps(data).encode(), Upload) == Upload("p", "a", "v", "s")


@pytest.mark.parametrize(
    ("data", "place"),
    [
        (b'{"project": 1}', "$.project"),
        (b'{"project": "p", "permissions": []}', "$.permissions"),
        (b'{"project": "p", "permissions": {"owners": "me"}}', "$.permissions.owners"),
        (b'{"project": "p", "permissions": {"owners": ["a", null]}}', "$.permissions.owners[1]"),
        (
            b'{"project": "p", "permissions": {"uploaders": [{"id": "u", "trusted": "yes"}]}}',
            "$.permissions.uploaders[0].trusted",
        ),
        (b'{"project": "p", "project": "q"}', "$.project"),
        (b'{"project": "p", "x": [{"y": 1, "y": 1}]}', "$.x[0].y"),
        (b'{"project": "p", "permissions": {"owners": [], "owners": []}}', "$.permissions.owners"),
    ],
)
def test_the_reason_names_the_place(data: bytes, place: str) -> None:
    with pytest.raises(Refused) as caught:
        decode_request(data, CreateProject)
    assert f"`{place}`" in caught.value.reason


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"project": "p"} x',
        b'{"project": "\xff"}',
        b"\xef\xbb\xbf{}",
        '{"project": "p"}'.encode("utf-16"),
        b'{"project": "p", "x": NaN}',
        b'{"project": "p", "x": ' + b"[" * 2000 + b"]" * 2000 + b"}",
        b"{" * 100000,
        b'{"project": "p", "x": ' + b"[" * 600000 + b"]" * 600000 + b"}",
        b'{"project": "p", "x": ' + b'{"x":' * 5000 + b"1" + b"}" * 5001,
        b'{"project": "p", "x": "\xff"}',
        b'{"project": "p", "\xff": 1}',
    ],
    ids=lambda data: repr(data[:30]),
)
def test_what_is_not_valid_is_refused(data: bytes) -> None:
    with pytest.raises(Refused, match="the request is not valid"):
        decode_request(data, CreateProject)


@given(st.binary(max_size=60))
def test_no_content_does_anything_but_decode_or_be_refused(data: bytes) -> None:
    for kind in (CreateProject, Upload, HealthCheck):
        with contextlib.suppress(Refused):
            assert isinstance(decode_request(data, kind), kind)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@given(st.dictionaries(st.text(max_size=5), json_values))
def test_any_object_without_a_doubled_key_is_a_health_check(value: dict[str, object]) -> None:
    assert decode_request(json.dumps(value).encode(), HealthCheck) == HealthCheck()


@given(st.dictionaries(st.text(max_size=5), json_values, min_size=1))
def test_an_object_with_a_doubled_key_is_refused(value: dict[str, object]) -> None:
    doubled = json.dumps(value)[:-1] + ", " + json.dumps(value)[1:]
    with pytest.raises(Refused, match="occurs twice"):
        decode_request(doubled.encode(), HealthCheck)


@pytest.mark.parametrize(("start", "end"), [("[", "]"), ('{"x":', "}")])
def test_the_depth_of_a_request_has_a_bound_of_our_own(start: str, end: str) -> None:
    def nested(depth: int) -> bytes:
        value = start * (depth - 1) + "1" + end * (depth - 1)
        return f'{{"y": {value}, "z": "[[{{\\"["}}'.encode()

    assert decode_request(nested(MAX_DEPTH), HealthCheck) == HealthCheck()
    with pytest.raises(Refused, match=f"nested too deeply, in more than {MAX_DEPTH}"):
        decode_request(nested(MAX_DEPTH + 1), HealthCheck)


def test_many_brackets_that_are_not_deep_are_no_depth() -> None:
    text = b'["\\\\", "[[\\"[", {"{": ["]"]}]'
    assert not depth_exceeds(b"[" + b",".join([text] * 1000) + b"]", 4)
    assert depth_exceeds(b"[" + b",".join([text] * 1000) + b"]", 3)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (b'{"a": {"b": 1}, "b": 2, "c": [{"b": 1}, {"b": 2}]}', None),
        (rb'{"a\"": 1, "a\\": 2, "a": 3}', None),
        (rb'{"a": 1, "\u0061": 2}', "$.a"),
        (rb'{"x": [[], [0, {"k": 1, "\u006b": 2}]]}', "$.x[1][1].k"),
        (b'{"x": "a:{", "y": ["a:", "a:"], "y" : 1}', "$.y"),
    ],
)
def test_a_key_that_occurs_twice_is_found_however_it_is_written(
    text: bytes, place: str | None
) -> None:
    assert duplicate_key(text) == place


def nested_texts(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Texts of objects and arrays, whose keys may occur twice, with any white space."""
    colon = st.sampled_from([":", " :", "\n\t:"])
    key = st.sampled_from(['"a"', '"\\u0061"', '":"', '"permissions"', '"uploaders"', '"id"'])
    members = st.lists(st.tuples(key, colon, inner).map("".join), max_size=4)
    return members.map(lambda parts: "{" + ",".join(parts) + "}") | st.lists(inner, max_size=3).map(
        lambda parts: "[" + ", ".join(parts) + "]"
    )


@given(
    st.recursive(st.sampled_from(["1", '""', '":"', '"\\":"', '"a\\\\"', "9" * 5000]), nested_texts)
)
def test_short_texts_are_examined_like_long_ones(text: str) -> None:
    data, space = text.encode(), b" " * QUICK_BYTES
    assert duplicate_key(data) == duplicate_key(data + space)
    data = b'{"project": "p", "permissions": ' + data + b"}"
    with contextlib.suppress(Refused):
        decode_request(data, CreateProject)
        assert ignored_fields(data, CreateProject) == ignored_fields(data + space, CreateProject)


def test_a_long_key_is_not_repeated_in_the_reason() -> None:
    key = "k" * 300_000
    with pytest.raises(Refused, match="occurs twice") as caught:
        decode_request(f'{{"{key}": 1, "{key}": 2}}'.encode(), HealthCheck)
    assert len(caught.value.message) < 400


def filled(start: bytes, part: bytes, end: bytes) -> bytes:
    count = (MAX_REQUEST_BYTES - len(start) - len(end)) // (len(part) + 1)
    return start + b",".join([part] * count) + end


LARGE = {
    "objects": filled(b'{"project": "p", "x": [', b"{}", b"]}"),
    "arrays": filled(b'{"project": "p", "x": [', b"[]", b"]}"),
    "texts": filled(b'{"project": "p", "x": [', b'""', b"]}"),
    "numbers": b'{"project": "p", "x": ' + b"9" * (MAX_REQUEST_BYTES - 30) + b"}",
    "huge numbers": filled(b'{"project": "p", "x": [', b"1e999999", b"]}"),
    "escapes": b'{"project": "p", "x": "' + b"\\\\" * 500_000 + b'"}',
    "fields": b'{"project": "p", ' + b",".join(b'"%05x": 1' % i for i in range(0x16000)) + b"}",
    "owners": filled(b'{"project": "p", "permissions": {"owners": [', b'"ab"', b"]}}"),
    "uploaders": filled(b'{"project": "p", "permissions": {"uploaders": [', b'{"id":"a"}', b"]}}"),
}


@pytest.mark.parametrize("data", LARGE.values(), ids=LARGE.keys())
def test_a_request_takes_a_small_multiple_of_its_size_to_decode(data: bytes) -> None:
    assert MAX_REQUEST_BYTES * 0.9 < len(data) <= MAX_REQUEST_BYTES
    tracemalloc.start()
    try:
        assert decode_request(data, CreateProject).project == "p"
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 24 * len(data)


def test_every_request_has_an_action() -> None:
    kinds = {
        kind
        for kind in vars(requests).values()
        if inspect.isclass(kind)
        and issubclass(kind, Struct)
        and kind.__module__ == "gobbler.model.requests"
        and not kind.__name__.startswith("_")
    }
    used = {action.request for action in ACTIONS.values()}
    parts = {requests.DeletionTarget}
    assert kinds - used - parts == set()
