"""The share of a pool: the processes that one request uses, and the batches that they run.

The thread that dispatches the batches sends them, waits, and gets the results; no other thread is
between it and the processes. Each process gets some batches ahead, so that it never waits for that
thread.
"""

from __future__ import annotations

import logging
import os
import pickle
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, NamedTuple

from gobbler.errors import Code, Fault
from gobbler.model.progress import Progress, ProgressCounter
from gobbler.transfer.local_pool import LocalPool
from gobbler.transfer.pool_channel import Channel, ChannelClosed, Kind, Message

AHEAD = 3
"""Batches that a process has at a time: the one that it runs, and the next ones."""

CANCEL_SECONDS = 10.0
"""Seconds in which a process must end cancelled batches; else it is killed."""


class ProcessDied(Fault):
    """The process that ran a batch has died. It has changed nothing since, and never will."""

    default_code = Code.EXECUTOR_FAILED


class _Task(NamedTuple):
    future: Future[Any]
    counter: ProgressCounter


class _Member:
    """A process, and its batches in their order."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.tasks: deque[_Task] = deque()

    def submit(
        self, function: Callable[..., Any], batch: object, counter: ProgressCounter
    ) -> _Task:
        """Send a batch."""
        task = _Task(Future(), counter)
        task.future.set_running_or_notify_cancel()
        self.tasks.append(task)
        content = pickle.dumps((function, batch), pickle.HIGHEST_PROTOCOL)
        self.channel.send(Kind.WORK, content)
        return task

    def handle(self) -> None:
        """Send and receive what can be. Raises :class:`ChannelClosed`."""
        self.channel.flush()
        for message in self.channel.messages():
            self._receive(message)

    def _receive(self, message: Message) -> None:
        content = pickle.loads(message.content)  # noqa: S301 - the pool's own
        if message.kind is Kind.PROGRESS:
            counter = self.tasks[0].counter
            counter.files, counter.bytes = content
        elif message.kind is Kind.LOG:
            name, level, text = content
            logging.getLogger(name).log(level, "%s", text)
        elif message.kind is Kind.RESULT:
            self.tasks.popleft().future.set_result(content)
        else:
            self.tasks.popleft().future.set_exception(content)

    def fail(self) -> None:
        """End all batches: the process has died."""
        while self.tasks:
            self.tasks.popleft().future.set_exception(
                ProcessDied("a process of the local pool died")
            )


class PoolShare:
    """The share of a request, for one thread. Close it at the end."""

    def __init__(self, pool: LocalPool) -> None:
        self._pool = pool
        self._members: list[_Member] = []
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._is_open = True
        self._lock = threading.Lock()
        pool.join()

    @property
    def is_used(self) -> bool:
        """Whether processes run batches of this request."""
        return any(member.tasks for member in self._members)

    def submit(
        self, function: Callable[[Any, Progress], object], batch: object, counter: ProgressCounter
    ) -> Future[Any] | None:
        """Have a process run ``function`` on ``batch``; ``None`` if none is free.

        The future fails with :class:`ProcessDied` if the process dies.
        """
        while (member := self._member()) is not None:
            try:
                return member.submit(function, batch, counter).future
            except ChannelClosed:
                member.tasks.pop()  # it runs elsewhere
                member.fail()
                self._lose(member)
        return None

    def _member(self) -> _Member | None:
        """The process with the least to do; another one of the pool rather than a batch ahead."""
        most = self._pool.most_for_each()
        mine = self._members[:most]
        member = min(mine, key=lambda each: len(each.tasks), default=None)
        if member is not None and not member.tasks:
            return member
        if len(mine) < most:
            channel = self._pool.lend(is_first=not mine)
            if channel is not None:
                self._members.append(_Member(channel))
                return self._members[-1]
        return member if member is not None and len(member.tasks) < AHEAD else None

    def wake(self, _: object = None) -> None:
        """End :meth:`wait`; from any thread, and perhaps too late."""
        with self._lock:
            if self._is_open:
                os.eventfd_write(self._wake, 1)

    def wait(self, seconds: float) -> None:
        """Wait until a batch has ended, or :meth:`wake` is called, but no longer than that."""
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        members = {member.channel.fileno(): member for member in self._members}
        for descriptor, member in members.items():
            unsent = select.POLLOUT if member.channel.has_unsent else 0
            poll.register(descriptor, select.POLLIN | unsent)
        for descriptor, _ in poll.poll(seconds * 1000):
            if descriptor == self._wake:
                os.eventfd_read(self._wake)
                continue
            member = members[descriptor]
            try:
                member.handle()
            except ChannelClosed:
                member.fail()
                self._lose(member)
        self._return_some()

    def _return_some(self) -> None:
        """Give processes back that others want, too."""
        for member in self._members[self._pool.most_for_each() :]:
            if not member.tasks:
                self._members.remove(member)
                self._pool.give_back(member.channel)

    def _lose(self, member: _Member) -> None:
        self._members.remove(member)
        self._pool.lose(member.channel)

    def end(self) -> None:
        """Wait until all cancelled batches have ended, or their processes will never go on."""
        deadline = time.monotonic() + CANCEL_SECONDS
        while self.is_used and (left := deadline - time.monotonic()) > 0:
            self.wait(left)
        for member in list(self._members):
            if member.tasks:
                member.fail()
                self._lose(member)

    def close(self) -> None:
        """Give all processes back. They have no batches any more."""
        for member in self._members:
            self._pool.give_back(member.channel)
        self._members.clear()
        self._pool.leave()
        with self._lock:
            self._is_open = False
            os.close(self._wake)
