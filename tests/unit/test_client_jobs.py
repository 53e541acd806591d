"""The handle of a job: it can be copied, compared, and says what it is."""

from __future__ import annotations

import copy
import pickle
from functools import partial

import msgspec
import pytest

from gobbler.client.bulk.run import problems_in
from gobbler.client.errors import RequestCancelled, RequestFailed, error_from_answer
from gobbler.client.http import Http
from gobbler.client.jobs import HttpJobReader, Job, SpoolJobReader, answer_of
from gobbler.errors import Cancelled, Code
from gobbler.model.jobs import JobState

NAME = "0-request-upload-1"


@pytest.fixture
def staging(tmp_path):
    (tmp_path / "..spool" / "new").mkdir(parents=True)
    (tmp_path / "..spool" / "cur").mkdir()
    return tmp_path


def write(staging, state: str, answer: dict[str, object] | None = None) -> None:
    content = msgspec.json.encode(JobState(NAME, "upload", "ada", state, "now"))
    (staging / "..spool" / "cur" / f"{NAME}.state").write_bytes(content)
    if answer is not None:
        content = msgspec.json.encode(answer)
        (staging / "..spool" / "cur" / f"{NAME}.answer").write_bytes(content)


@pytest.mark.parametrize("copied", [copy.copy, lambda job: pickle.loads(pickle.dumps(job))])
def test_a_copy_follows_the_same_job(staging, copied):
    write(staging, "running")
    job = Job(NAME, SpoolJobReader(str(staging)), partial(dict))
    assert repr(job) == f"<Job {NAME}: unknown>"
    assert job.state().state == "running"
    ended = []
    job.when_ended(lambda: ended.append(job.name))
    same = copied(job)
    assert same == job
    assert hash(same) == hash(job)
    assert repr(same) == f"<Job {NAME}: running>"
    write(staging, "done", {"status": "SUCCESS", "http_status": 200})
    assert same.wait() == job.wait() == {"status": "SUCCESS"}
    assert ended == [NAME], "the copy calls nothing"
    assert job != Job(NAME, HttpJobReader(Http("http://x")), partial(dict))


@pytest.mark.parametrize(
    ("answer", "code", "status"),
    [
        ({"code": "version-exists", "http_status": 400}, Code.VERSION_EXISTS, 400),
        ({"code": "cancelled", "http_status": 409}, Code.CANCELLED, 409),
        ({"code": 400}, Code.INVALID_REQUEST, 400),  # of a service before there were codes
        ({}, Code.INTERNAL_ERROR, 500),
    ],
)
def test_the_error_of_a_job_is_that_of_a_plain_post(answer, code, status):
    state = JobState(NAME, "upload", "ada", "failed", "now", answer={"reason": "no", **answer})
    with pytest.raises(RequestFailed, match="no") as caught:
        answer_of(state)
    assert (caught.value.code, caught.value.status) == (code, status)
    assert caught.value.fields == {}
    assert isinstance(caught.value, Cancelled) is (code is Code.CANCELLED)


def test_a_job_that_somebody_cancelled_tells_nothing_about_its_target():
    """Its version would count as damaged."""
    with pytest.raises(RequestCancelled):
        problems_in(error_from_answer(409, {"reason": "no", "code": "cancelled"}))
    assert problems_in(error_from_answer(400, {"reason": "no"})) == ("no",)


def test_a_conflict_that_another_service_finds_is_no_cancellation():
    assert not isinstance(error_from_answer(409, {"reason": "no"}), Cancelled)
