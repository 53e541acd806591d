"""The names of jobs, how they end, and their progress."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gobbler.errors import Cancelled, Code, Missing, Refused
from gobbler.model.jobs import (
    CANCELLED,
    MAX_JOB_NAME_BYTES,
    final_state,
    is_valid_request_file,
    job_answer,
    job_name,
    progress_after,
    read_answer,
    split_job,
)

from .strategies import file_names

uids = st.integers(0, 2**32 - 1)


@given(uids, file_names.filter(is_valid_request_file))
def test_a_job_is_named_by_its_owner_and_its_request_file(uid: int, name: str) -> None:
    assert split_job(job_name(uid, name)) == (uid, name)


@given(
    uids, uids, file_names.filter(is_valid_request_file), file_names.filter(is_valid_request_file)
)
def test_no_two_owners_have_a_job_of_one_name(uid, other, name, another) -> None:
    same = job_name(uid, name) == job_name(other, another)
    assert same == ((uid, name) == (other, another))


@pytest.mark.parametrize(
    "job",
    [
        *("", "-", "7", "7-", "-7-a", "a-b", "request-upload-1", "7/a-b", "7-a/b", "../7-a"),
        *("07-a", "+7-a", " 7-a", "7_0-a", "\u0667-a", "\uff17-a"),  # other spellings of 7
        *("7-a.state", "7-a.answer", "7-.", "7-..", "7-a\n", "7-a\0", "7-\udcff", "7-" + "a" * 201),
        "7-" + "\u00e4" * 101,
    ],
)
def test_what_is_no_name_of_a_job_is_the_name_of_none(job: str) -> None:
    with pytest.raises(Missing, match="there is no job"):
        split_job(job)


def test_the_longest_name_leaves_room_for_all_that_is_kept_of_the_job() -> None:
    name = "a" * MAX_JOB_NAME_BYTES
    longest = f"..tmp-{job_name(2**32 - 1, name)}.answer-{'f' * 16}"
    claimed = f"{job_name(2**32 - 1, name)}.{2**64 - 1:x}-{2**63 - 1:x}.claimed"
    assert split_job(job_name(2**32 - 1, name))
    assert max(len(longest), len(claimed)) <= 255


@pytest.mark.parametrize(
    ("answer", "ended"),
    [
        ({"status": "SUCCESS"}, "done"),
        (Refused("no").answer(), "failed"),
        (Cancelled("the client went away", code=Code.CLIENT_GONE).answer(), "failed"),
        (Cancelled(CANCELLED, hint="Nothing was changed.").answer(), "cancelled"),
        (Refused(f"{CANCELLED} is what it says").answer(), "failed"),
        ({}, "failed"),
    ],
)
def test_how_a_job_has_ended_is_reported_by_its_answer(
    answer: dict[str, object], ended: str
) -> None:
    assert final_state(answer) == ended


def test_an_answer_of_a_service_without_codes_is_read() -> None:
    now = job_answer(Refused("no").answer(), 400)
    assert read_answer(now) == now == {**Refused("no").answer(), "http_status": 400}
    before = {"status": "ERROR", "reason": "no", "code": 400, "problems": ["x"]}
    assert read_answer(before) == {
        "status": "ERROR",
        "reason": "no",
        "http_status": 400,
        "problems": ["x"],
    }


sizes = st.integers(0, 2**60)


@given(st.floats(0, 1e6), sizes, sizes, st.none() | st.tuples(sizes, sizes))
def test_progress_is_never_nonsense(seconds, files, size, expected) -> None:
    known = progress_after(seconds, files, size, expected)
    assert (known.files, known.bytes) == (files, size)
    assert known.rate is None or known.rate >= 0
    assert (known.seconds_left is None) or known.seconds_left >= 0
    assert (known.files_expected, known.bytes_expected) == (expected or (None, None))


def test_progress_reports_rate_and_time_left() -> None:
    known = progress_after(10, 3, 500, (6, 2000))
    assert (known.rate, known.seconds_left) == (50.0, 30.0)
    assert progress_after(10, 3, 500, None).seconds_left is None
    assert progress_after(0, 0, 0, (6, 2000)).rate is None
    assert progress_after(10, 6, 2100, (6, 2000)).seconds_left == 0
