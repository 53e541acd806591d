"""One disturbance: what was done, in which state that left the registry, and a retry."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from gobbler.actions.recovery import recover
from gobbler.disk.flushing import Durability
from gobbler.registry import Registry

from .judging import (
    Expected,
    Finding,
    service_findings,
    source_findings,
    state_findings,
    stray_findings,
)
from .operations import Operation
from .serving import Answer, Service
from .tracing import Call, calls_in, failed_at, killed_at, traced
from .world import State, World

STANDS = "has been made"
"""In the reason of an error that came too late to take the change back."""


SPOKEN = ("could not", "can't be read")
"""What a reason says of the operation that failed, besides the path in quotes."""


OURS = ("ENOSPC", "EMFILE", "ENOLCK", "EINTR")
"""Errors that are never the client's mistake."""


class Study(NamedTuple):
    """The operation undisturbed: its states, its calls in a new service and in a used one."""

    expected: Expected
    cold: list[Call]
    warm: list[Call]


@dataclass(frozen=True)
class Point:
    """Where an operation is disturbed, and how; without an ``error`` it is killed."""

    operation: Operation
    expected: Expected
    call: Call
    error: str = ""


class Outcome(NamedTuple):
    """``hit`` is the call as it is told; empty if the point was not reached."""

    point: Point
    hit: str
    findings: list[Finding]


class Bench:
    """A world in which one point after another is tried, and its service."""

    def __init__(self, top: Path, template: World) -> None:
        self._template = template
        self._world = World(top)
        self._world.make()
        self._service: Service | None = None
        self._output = top / "trace"
        self._good: list[State] = []

    @property
    def service(self) -> Service:
        """The running service."""
        if self._service is None:
            whitelist = self._template.top.parent / "whitelist"
            self._service = Service(self._world, f"--whitelist={whitelist}")
        return self._service

    def stop(self) -> None:
        """Kill the service."""
        if self._service is not None:
            self._service.kill()
            self._service = None

    def study(self, operation: Operation, *, cold: bool = True) -> Study:
        """Do the operation undisturbed, ``cold``: by a new service; look at what it does."""
        if cold:
            self.stop()
        before, first = self._rehearse(operation)
        after, left = self._world.published(), self._world.sources()
        content = self._world.content()
        _, warm = self._rehearse(operation) if cold else (None, first)
        return Study(Expected(before[0], after, before[1], left, content), first, warm)

    def _rehearse(self, operation: Operation) -> tuple[tuple[State, State], list[Call]]:
        self._reset(operation)
        before = self._world.published(), self._world.sources()
        with traced(self.service.threads(), self._output) as tracer:
            answer = self._ask(operation)
        if answer is None or answer.reason:
            raise RuntimeError(f"{operation.name} was answered with {answer}")
        calls = calls_in(tracer.lines(), self._world.top)
        if not calls:
            raise RuntimeError(f"{operation.name}: another thread carried it out")
        return before, calls

    def _reset(self, operation: Operation) -> None:
        self._world.become(self._template)
        operation.prepare(self._world)

    def _ask(self, operation: Operation) -> Answer | None:
        return self.service.ask(operation.action, operation.request, operation.uid)

    def attempt(self, point: Point) -> Outcome:
        """Try one point; a service that got into a bad state is given up."""
        self._reset(point.operation)
        try:
            return self._fail(point) if point.error else self._kill(point)
        except (TimeoutError, RuntimeError) as error:
            self.stop()
            words = f"it hangs, or does not start: {error}"
            return Outcome(point, point.call.told, [Finding("broken", words)])

    def _kill(self, point: Point) -> Outcome:
        with killed_at(self.service.threads(), self._output, point.call):
            answer = self._ask(point.operation)
        if answer is not None:
            return Outcome(point, "", [])
        self.stop()
        assert self.service  # started anew, it recovers
        found = list(stray_findings(self._world))
        state = self._world.published()
        done = state == point.expected.after
        if not done:
            found += state_findings(state, point.expected.before)
        found += source_findings(self._world, point.operation, point.expected, done=done)
        if done or not point.operation.mends:
            found += service_findings(self.service)
        found += self._retry(point, state, done=done)
        return Outcome(point, point.call.told, found)

    def _fail(self, point: Point) -> Outcome:
        with failed_at(self.service.threads(), self._output, point.call, point.error) as tracer:
            answer = self._ask(point.operation)
        hit = tracer.hit().replace(f"{self._world.top}/", "")
        if not hit:
            return Outcome(point, "", [])
        if answer is None:
            self.stop()
            return Outcome(point, hit, [Finding("broken", "the service ended")])
        state = self._world.published()
        done = self._is_done(point, state, answer)
        found = [] if done else list(state_findings(state, point.expected.before))
        found += _answer_findings(point, answer, hit, done=done)
        found += source_findings(self._world, point.operation, point.expected, done=done)
        found += self._left_behind()
        if not found and state not in self._good and (done or not point.operation.mends):
            found += service_findings(self.service)
            self._good = [*self._good[-3:], state]
        found += self._retry(point, state, done=done)
        return Outcome(point, hit, found)

    def _is_done(self, point: Point, state: State, answer: Answer) -> bool:
        if state == point.expected.after:
            return True
        # A file that could have been a link may have been copied.
        same = self._world.content() == point.expected.content
        return point.operation.action == "upload" and not answer.reason and same

    def _left_behind(self) -> Iterator[Finding]:
        """What the next sweep, which every service does once a minute, does not put right."""
        if self._world.strays():
            recover(Registry(str(self._world.registry)), Durability.RELAXED)
        yield from stray_findings(self._world)

    def _retry(self, point: Point, seen: State, *, done: bool) -> Iterator[Finding]:
        operation = point.operation
        answer = self._ask(operation)
        if answer is None:
            yield Finding("retry", "the service ended")
            return
        if answer.reason and not (done and operation.done and operation.done in answer.reason):
            yield Finding("retry", answer.reason)
            return
        state, wanted = self._world.published(), seen if done else point.expected.after
        if done and operation.logs_again:
            state, wanted = _without_logs(state), _without_logs(wanted)
        for finding in state_findings(state, wanted):
            yield finding._replace(told=f"after the retry: {finding.told}")
        if not done and self._world.sources() != point.expected.left:
            yield Finding("retry", "after the retry the source is another")
        yield from stray_findings(self._world)


def _without_logs(state: State) -> State:
    return {path: facts for path, facts in state.items() if not path.startswith("..logs")}


def _answer_findings(point: Point, answer: Answer, hit: str, *, done: bool) -> Iterator[Finding]:
    if not answer.reason:
        if not done:
            yield Finding("broken", "it was answered as done")
        return
    if done and STANDS not in answer.reason:
        yield Finding("broken", f"it was done, but answered with: {answer.reason}")
    if not done and STANDS in answer.reason:
        yield Finding("broken", f"it was not done, but answered with: {answer.reason}")
    if "staging/" not in hit and "registry/" not in hit:
        return  # about the host, such as its accounts
    if answer.status < 500 and point.error in OURS:
        yield Finding("reason", f"{answer.status}: {answer.reason}")
    if '"' not in answer.reason or not any(words in answer.reason for words in SPOKEN):
        yield Finding("reason", answer.reason)
