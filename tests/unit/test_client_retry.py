"""Asking again where there was no answer."""

from __future__ import annotations

import pytest

from gobbler.client.errors import NoAnswer, RequestFailed, TooSlow, request_failed
from gobbler.client.parallel import Stop
from gobbler.client.retry import (
    POLL_FIRST_PAUSE,
    POLL_LONGEST_PAUSE,
    call_with_retries,
    next_poll_pause,
)
from gobbler.errors import Cancelled, Code, Unreachable


class Service:
    """Fails as the test wants, then answers."""

    def __init__(self, *errors):
        self.errors = list(errors)
        self.asked = 0
        self.message: list[str] = []

    def __call__(self):
        self.asked += 1
        if self.errors:
            raise self.errors.pop(0)
        return "answer"

    def ask(self, seconds=60.0, stop=None):
        return call_with_retries(self, stop or Stop(), self.message.append, seconds)


class NoPause(Stop):
    def wait(self, seconds: float) -> None:
        self.check()


@pytest.mark.parametrize(
    "error",
    [
        NoAnswer("connection refused"),
        TooSlow("no answer in time"),
        request_failed(503, "POST failed: HTTP 503"),
        request_failed(500, "the service stops", code=Code.STOPPING),
    ],
)
def test_what_may_pass_is_asked_again(error):
    service = Service(error, error)
    assert service.ask(stop=NoPause()) == "answer"
    assert service.asked == 3
    (reported,) = service.message
    assert error.reason in reported


@pytest.mark.parametrize("status", [400, 403, 404, 500])
def test_what_will_not_pass_is_raised(status):
    service = Service(request_failed(status, "no"))
    with pytest.raises(RequestFailed, match="no"):
        service.ask()
    assert (service.asked, service.message) == (1, [])


def test_retries_have_an_end():
    service = Service(*[NoAnswer("away")] * 5)
    with pytest.raises(Unreachable, match="away"):
        service.ask(seconds=0.0)
    assert service.asked == 1


def test_nobody_waits_for_what_nobody_wants():
    stop = Stop()
    stop.set()
    with pytest.raises(Cancelled):
        Service(NoAnswer("away")).ask(stop=stop)


def test_polls_of_a_long_job_become_rare() -> None:
    """A short job is seen to end at once; of a long one, a wait is a small part of its time."""
    moment, pause, polls = 0.0, POLL_FIRST_PAUSE, []
    while moment < 3600:
        moment += pause
        polls.append((moment, pause))
        pause = next_poll_pause(pause)
    assert all(pause <= max(0.15, moment / 3) for moment, pause in polls)
    assert polls[-1][1] == POLL_LONGEST_PAUSE
    assert len(polls) < 1000
