"""``/jobs/{job}``: the state of a job, at once or as a stream, and its cancellation."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import AsyncIterator
from concurrent.futures import Executor, ThreadPoolExecutor

import msgspec

from gobbler.actions.context import Requester
from gobbler.errors import Forbidden, GobblerError, Refused, quoted
from gobbler.fs.os_errors import fault_from
from gobbler.model.jobs import JobState, full_job_name
from gobbler.model.progress import NeverCancelled, NoProgress
from gobbler.model.requests import CancelJob, action_of, decode_request
from gobbler.rules.places import Shares
from gobbler.service.followed_jobs import FollowedJob, FollowedJobs
from gobbler.service.http.answer import Answer, lines
from gobbler.service.http.exchange import Exchange
from gobbler.service.outcome import RequestHandler, failed
from gobbler.service.places import Places
from gobbler.service.responses import ALWAYS, SANDBOX, json_answer
from gobbler.spool.job_answers import JobAnswers
from gobbler.spool.request_file import RequestFile, RequestIntake

STREAMS = Shares(places=512, each=384, reserved=64, waiting=0)
"""The streams of one HTTP worker; a user is the address of a client. Nobody waits for a place."""

KEEP_ALIVE = 15.0
"""Seconds after which a silent stream sends a comment."""

CANCEL, LIST = "cancel_job", "list_jobs"


class JobsRoute:
    """Answers requests about jobs: ``readers`` read states, ``threads`` cancel."""

    def __init__(
        self,
        requests: RequestHandler,
        intake: RequestIntake,
        readers: Executor,
        threads: ThreadPoolExecutor,
    ) -> None:
        self._requests = requests
        self._intake = intake
        self._answers = JobAnswers(requests.service.staging, requests.service.durability)
        self._readers = readers
        self._threads = threads
        self._followed = FollowedJobs(self._read)
        self._streams: Places[str] = Places("streams of jobs", STREAMS, None)

    def end_streams(self) -> None:
        """End all streams: a client that follows a job must not keep the service from stopping."""
        self._followed.end()

    async def _read(self, job: str) -> JobState:
        loop = asyncio.get_running_loop()
        state = await loop.run_in_executor(self._readers, self._answers.state, job)
        return _only_about_itself(state)

    async def show(self, exchange: Exchange, job: str) -> None:
        """Answer with the state of ``job``."""
        exchange.answer(json_answer(await self._read(job)))

    async def cancel(self, exchange: Exchange, job: str) -> None:
        """Cancel ``job`` for who can prove to own it."""
        exchange.when_gone(lambda: None)  # what has begun is done
        proof = exchange.parameter("request", "") or None
        loop = asyncio.get_running_loop()
        exchange.answer(await loop.run_in_executor(self._threads, self._cancel_now, job, proof))

    async def follow(self, exchange: Exchange, job: str) -> None:
        """Answer with the states of ``job``, as they come."""
        first = await self._read(job)
        if exchange.method == "HEAD":
            exchange.answer(Answer(200, _STREAM))
            return
        async with self._streams.one(exchange.client):
            with self._followed.follow(first) as followed:
                exchange.begin(200, _STREAM, None)
                async for event in _events(first, followed):
                    await exchange.send(event)
                exchange.end()

    def _cancel_now(self, job: str, proof: str | None) -> Answer:
        started, user, data = time.monotonic(), "?", b""
        try:
            if not proof:
                raise Forbidden(
                    "only the owner of a job can cancel it",
                    hint=f'Write {{"job": {quoted(job)}}} into a file request-{CANCEL}-... in '
                    "staging, and add its name as `?request=` to the address.",
                )
            if action_of(proof) != CANCEL:
                raise Refused(f"{quoted(proof)} is not the name of a request to {CANCEL}")
            taken = self._intake.take(proof, functools.partial(_check_proof, job, proof))
        except GobblerError as error:
            outcome = failed(error)
        except OSError as error:
            outcome = failed(fault_from(error, f"take request file {quoted(proof or '')}"))
        else:
            user, data = taken.user, taken.data
            outcome = self._requests.carry_out(
                proof,
                taken.data,
                Requester(taken.uid, user),
                progress=NoProgress(),
                cancel=NeverCancelled(),
            )
        self._requests.log(f"DELETE {job}", user, outcome, started, data)
        return json_answer(outcome.body, outcome.status)


def _check_proof(job: str, proof: str, taken: RequestFile) -> None:
    """Refuse a proof that was made for another job: somebody else may have seen its name."""
    named = decode_request(taken.data, CancelJob).job
    if full_job_name(taken.uid, named) != full_job_name(taken.uid, job):
        raise Refused(
            f"the request file {quoted(proof)} cancels job {quoted(named)}, not {quoted(job)}",
            hint='Write {"job": NAME} into a new request file, with the name of the job that '
            "you want to cancel.",
        )


def _only_about_itself(state: JobState) -> JobState:
    """The state without what its answer says about other jobs: their names are secrets."""
    if state.action != LIST or not isinstance(state.answer, dict):
        return state
    answer = {field: value for field, value in state.answer.items() if field != "jobs"}
    return msgspec.structs.replace(state, answer=answer)


_STREAM = lines(
    {
        **ALWAYS,
        "content-type": "text/event-stream; charset=utf-8",
        "cache-control": "no-store",
        "content-security-policy": SANDBOX,
    }
)


async def _events(state: JobState, followed: FollowedJob) -> AsyncIterator[bytes]:
    yield _event(state)
    while not state.is_final:
        if followed.state == state:
            if followed.is_over:
                return
            await followed.change(KEEP_ALIVE)
        if followed.state != state:
            state = followed.state
            yield _event(state)
        elif not followed.is_over:
            yield b": still there\n\n"


def _event(state: JobState) -> bytes:
    return f"event: {state.state}\ndata: ".encode() + msgspec.json.encode(state) + b"\n\n"
