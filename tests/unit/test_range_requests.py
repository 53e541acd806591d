"""Conditional requests and ranges as RFC 9110 has them (sections 13 and 14)."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gobbler.service.range_requests import Decision, FileState, decide

SECOND = 1_000_000_000
SIZE = 100
FILE = FileState(SIZE, 784_111_777 * SECOND + 5, 42)
AT = "Sun, 06 Nov 1994 08:49:37 GMT"
BEFORE, AFTER = "Sun, 06 Nov 1994 08:49:36 GMT", "Sun, 06 Nov 1994 08:49:38 GMT"
TAG, OTHER = FILE.etag, '"other"'

WHOLE = Decision(200, 0, SIZE)
NOT_MODIFIED, FAILED, UNSATISFIABLE = 304, 412, 416


def test_validators_distinguish_states_of_a_file() -> None:
    assert FILE.last_modified == AT
    others = [FileState(SIZE + 1, FILE.modified, 42), FileState(SIZE, FILE.modified + 1, 42)]
    others.append(FileState(SIZE, FILE.modified, 43))
    assert len({FILE.etag, *(file.etag for file in others)}) == 4
    assert TAG[0] == TAG[-1] == '"'


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"if-none-match": TAG}, NOT_MODIFIED),
        ({"if-none-match": f"W/{TAG}"}, NOT_MODIFIED),
        ({"if-none-match": f"{OTHER}, {TAG}"}, NOT_MODIFIED),
        ({"if-none-match": "*"}, NOT_MODIFIED),
        ({"if-none-match": OTHER}, 200),
        ({"if-none-match": ""}, 200),
        ({"if-modified-since": AT}, NOT_MODIFIED),
        ({"if-modified-since": AFTER}, NOT_MODIFIED),
        ({"if-modified-since": BEFORE}, 200),
        ({"if-modified-since": "Sunday, 06-Nov-94 08:49:37 GMT"}, NOT_MODIFIED),
        ({"if-modified-since": "Sun Nov  6 08:49:37 1994"}, NOT_MODIFIED),
        ({"if-modified-since": "yesterday"}, 200),
        ({"if-modified-since": ""}, 200),
        ({"if-none-match": OTHER, "if-modified-since": AFTER}, 200),
        ({"if-none-match": TAG, "if-modified-since": BEFORE}, NOT_MODIFIED),
        ({"if-match": TAG}, 200),
        ({"if-match": "*"}, 200),
        ({"if-match": f"{OTHER} , {TAG}"}, 200),
        ({"if-match": OTHER}, FAILED),
        ({"if-match": f"W/{TAG}"}, FAILED),
        ({"if-unmodified-since": AT}, 200),
        ({"if-unmodified-since": AFTER}, 200),
        ({"if-unmodified-since": BEFORE}, FAILED),
        ({"if-unmodified-since": "yesterday"}, 200),
        ({"if-match": TAG, "if-unmodified-since": BEFORE}, 200),
        ({"if-match": OTHER, "if-none-match": TAG}, FAILED),
        ({"if-match": TAG, "if-none-match": TAG}, NOT_MODIFIED),
        ({"if-none-match": TAG, "range": "bytes=0-1"}, NOT_MODIFIED),
    ],
)
def test_preconditions_come_in_the_order_of_the_rfc(headers: dict[str, str], status: int) -> None:
    decision = decide(headers, FILE)
    assert decision.status == status
    if status == 200:
        assert decision == WHOLE


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("bytes=0-0", Decision(206, 0, 1)),
        ("bytes=0-99", Decision(206, 0, 100)),
        ("bytes=0-100", Decision(206, 0, 100)),
        ("bytes=10-19", Decision(206, 10, 20)),
        ("bytes=90-", Decision(206, 90, 100)),
        ("bytes=99-", Decision(206, 99, 100)),
        ("bytes=-1", Decision(206, 99, 100)),
        ("bytes=-100", Decision(206, 0, 100)),
        ("bytes=-1000", Decision(206, 0, 100)),
        ("bytes=5-99999999999999999999999999", Decision(206, 5, 100)),
        ("bytes=00000000000000000000000000005-", Decision(206, 5, 100)),
        ("bytes= 5-6 ", Decision(206, 5, 7)),
        ("bytes=100-", Decision(416, 0, 0)),
        ("bytes=100-200", Decision(416, 0, 0)),
        ("bytes=99999999999999999999999999-", Decision(416, 0, 0)),
        ("bytes=-0", Decision(416, 0, 0)),
        ("bytes=5-4", WHOLE),
        ("bytes=-", WHOLE),
        ("bytes=", WHOLE),
        ("bytes=a-b", WHOLE),
        ("bytes=1", WHOLE),
        ("bytes=--5", WHOLE),
        ("bytes=0-1,5-6", WHOLE),
        ("bytes=٣-٤", WHOLE),
        ("lines=0-1", WHOLE),
        ("0-1", WHOLE),
        ("", WHOLE),
    ],
)
def test_a_range_is_served_where_it_makes_sense(wanted: str, expected: Decision) -> None:
    assert decide({"range": wanted}, FILE) == expected


@pytest.mark.parametrize(
    ("condition", "applies"),
    [
        (TAG, True),
        (f" {TAG} ", True),
        (OTHER, False),
        (f"W/{TAG}", False),
        (AT, True),
        (BEFORE, False),
        (AFTER, False),
        ("", False),
        ("x", False),
    ],
)
def test_if_range_takes_strong_validators_only(condition: str, applies: bool) -> None:
    decision = decide({"range": "bytes=1-2", "if-range": condition}, FILE)
    assert decision == (Decision(206, 1, 3) if applies else WHOLE)


sizes = st.integers(0, 10**13)
numbers = st.integers(0, 10**14).map(str) | st.just("")
ranges = st.builds("bytes={}-{}".format, numbers, numbers) | st.text(max_size=12)


@given(ranges, sizes)
def test_what_is_served_is_always_within_the_file(wanted: str, size: int) -> None:
    decision = decide({"range": wanted}, FileState(size, 0, 1))
    assert decision.status in (200, 206, 416)
    if decision.status == 206:
        assert 0 <= decision.start < decision.stop <= size
    elif decision.status == 200:
        assert (decision.start, decision.stop) == (0, size)


@given(st.integers(0, 10**13), st.integers(0, 10**13), st.integers(1, 10**13))
def test_a_range_within_the_file_is_served_exactly(one: int, other: int, size: int) -> None:
    first, last = sorted((one % size, other % size))
    decision = decide({"range": f"bytes={first}-{last}"}, FileState(size, 0, 1))
    assert decision == Decision(206, first, last + 1)


@given(st.integers(0, 2**34), st.integers(0, SECOND - 1))
def test_who_sends_back_a_validator_gets_nothing_new(seconds: int, rest: int) -> None:
    file = FileState(SIZE, seconds * SECOND + rest, 7)
    assert decide({"if-none-match": file.etag}, file).status == NOT_MODIFIED
    assert decide({"if-modified-since": file.last_modified}, file).status == NOT_MODIFIED
    assert decide({"if-unmodified-since": file.last_modified}, file).status == 200
    newer = formatdate(seconds - 1, usegmt=True) if seconds else None
    if newer:
        assert decide({"if-modified-since": newer}, file).status == 200


@given(
    st.dictionaries(
        st.sampled_from(
            [
                "if-match",
                "if-none-match",
                "if-modified-since",
                "if-unmodified-since",
                "if-range",
                "range",
            ]
        ),
        st.text(max_size=40) | st.sampled_from([TAG, AT, "*", "bytes=0-1"]),
    )
)
def test_no_header_does_anything_but_be_answered(headers: dict[str, str]) -> None:
    assert decide(headers, FILE).status in (200, 206, 304, 412, 416)
