"""One disturbance: what was done, in which state that left the registry, and a retry."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from gobbler.fs.flush import Durability
from gobbler.registry.discarded import remove_discarded
from gobbler.registry.recovery import recover
from gobbler.registry.registry import Registry

from .answering import answer_findings
from .disturbing import LIMIT, Outcome, Point, Study
from .judging import (
    Expected,
    Finding,
    service_findings,
    source_findings,
    state_findings,
    stray_findings,
)
from .operations import HASHED, Operation
from .serving import Answer, Service, is_alive
from .tracing import COPY, POOL, RequestContext, calls_in, failed_at, killed_at, traced
from .world import State, World

MANY_FILES = 2
"""The number of files above which a local pool gets them."""


class Bench:
    """A world in which one point after another is tried, and its service."""

    def __init__(self, top: Path, template: World) -> None:
        self._template = template
        self._world = World(top)
        self._world.make()
        self._service: Service | None = None
        self._pooled = False
        self._output = top / "trace"
        self._good: list[State] = []

    @property
    def service(self) -> Service:
        """The running service."""
        while self._service is None:
            self._service = self._start()
            if not self._service.hash_a_batch(HASHED):
                self.stop()
        return self._service

    def _start(self) -> Service:
        whitelist = self._template.top.parent / "whitelist"
        flags = (f"--whitelist={whitelist}", "--concurrency=1", f"--processes={self._pooled:d}")
        return Service(self._world, *flags, many=MANY_FILES if self._pooled else None)

    def stop(self) -> None:
        """Kill the service."""
        if self._service is not None:
            self._service.kill()
            self._service = None

    def study(self, operation: Operation, *, cold: bool = True) -> Study:
        """Do the operation undisturbed, ``cold`` by a new service, too; check the effect."""
        first: list[RequestContext] = []
        if cold:
            self.stop()
            self._reset(operation)
            self._service = self._start()
            first = self._rehearse(operation)
            self.stop()
        self._reset(operation)
        self._rehearse(operation)  # what is done but once has been done then
        self._reset(operation)
        before = self._world.published(), self._world.sources()
        warm = self._rehearse(operation)
        after, left = self._world.published(), self._world.sources()
        content = self._world.content()
        return Study(Expected(before[0], after, before[1], left, content), first, warm)

    def _rehearse(self, operation: Operation) -> list[RequestContext]:
        service = self.service
        threads = service.all_threads()
        with traced(service.threads(COPY), self._output) as tracer:
            answer = self._ask(operation)
        if answer is None or answer.reason:
            raise RuntimeError(f"{operation.name} was answered with {answer}")
        return calls_in(
            tracer.lines(), self._world.top, lambda thread: service.kind(thread, threads)
        )

    def _reset(self, operation: Operation) -> None:
        if operation.pooled != self._pooled:
            self.stop()
            self._pooled = operation.pooled
        self._world.become(self._template)
        operation.prepare(self._world)

    def _ask(self, operation: Operation) -> Answer | None:
        return self.service.ask(operation.action, operation.request, operation.uid)

    def attempt(self, point: Point) -> Outcome:
        """Try one point; a service that got into a bad state is given up."""
        self._reset(point.operation)
        try:
            if point.new:
                self.stop()
                self._service = self._start()
            # The service outlives a process of its pool, and does the work itself.
            outlives = point.error or point.call.thread == POOL
            return self._fail(point) if outlives else self._kill(point)
        except (OSError, RuntimeError, ValueError) as error:
            self.stop()
            words = f"it hangs, or does not start: {error!r}"
            return Outcome(point, point.call.told, [Finding("broken", words)])

    def _kill(self, point: Point) -> Outcome:
        target = self.service.threads(point.call.thread)
        with killed_at(target, self._output, point.call) as tracer:
            answer = self._ask(point.operation)
        if answer is not None:
            return Outcome(point, "", [])
        self.stop()
        assert self.service  # after a restart, it recovers
        found = list(stray_findings(self._world))
        state = self._world.published()
        done = state == point.expected.after
        if not done:
            found += state_findings(state, point.expected.before)
        found += source_findings(self._world, point.operation, point.expected, done=done)
        if done or not point.operation.mends:
            found += service_findings(self.service)
        found += self._retry(point, state, done=done)
        return Outcome(point, tracer.last().replace(f"{self._world.top}/", ""), found)

    def _fail(self, point: Point) -> Outcome:
        answer, hit = self._disturb(point)
        if not hit:
            return Outcome(point, "", [])
        if answer is None:
            self.stop()
            return Outcome(point, hit, [Finding("broken", "the service ended")])
        state = self._world.published()
        done = self._is_done(point, state, answer)
        found = [] if done else list(state_findings(state, point.expected.before))
        found += answer_findings(point, answer, hit, done=done)
        if not point.error and answer.reason:
            found.append(Finding("broken", f"a death in the pool failed it: {answer.reason}"))
        found += source_findings(self._world, point.operation, point.expected, done=done)
        found += self._left_behind()
        if not found and state not in self._good and (done or not point.operation.mends):
            found += service_findings(self.service)
            self._good = [*self._good[-3:], state]
        found += self._retry(point, state, done=done)
        if left := self.service.left_open():
            found.append(Finding("stray", f"left open: {', '.join(left)}"))
            self.stop()
        return Outcome(point, hit, found)

    def _disturb(self, point: Point) -> tuple[Answer | None, str]:
        """The answer, and what was made to fail; empty if nothing was."""
        if point.error == LIMIT:
            with self.service.files_limited(point.call.count):
                return self._ask(point.operation), point.call.told
        target = self.service.threads(point.call.thread)
        if not point.error:
            with killed_at(target, self._output, point.call) as tracer:
                answer = self._ask(point.operation)
            hit = "" if is_alive(target.threads[0]) else tracer.last()
            return answer, hit.replace(f"{self._world.top}/", "")
        with failed_at(target, self._output, point.call, point.error) as tracer:
            answer = self._ask(point.operation)
        return answer, tracer.hit().replace(f"{self._world.top}/", "")

    def _is_done(self, point: Point, state: State, answer: Answer) -> bool:
        if state == point.expected.after:
            return True
        # A file that could have been a link may have been copied.
        same = self._world.content() == point.expected.content
        return point.operation.action == "upload" and not answer.reason and same

    def _left_behind(self) -> Iterator[Finding]:
        """The problems that remain after the next recovery, which runs once a minute."""
        if self._world.strays():
            recover(Registry(str(self._world.registry)), Durability.RELAXED)
            remove_discarded(str(self._world.registry))
        yield from stray_findings(self._world)

    def _retry(self, point: Point, seen: State, *, done: bool) -> Iterator[Finding]:
        operation = point.operation
        answer = self._ask(operation)
        if answer is None:
            yield Finding("retry", "the service ended")
            return
        if answer.reason and not (done and operation.done and operation.done == answer.code):
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
