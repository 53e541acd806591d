"""Processes that compete for files. Each answer has a time limit."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import partial
from multiprocessing.process import BaseProcess
from types import TracebackType

from gobbler.doctor import contender as script

ANSWER_WITHIN = 10.0
"""Seconds for an answer, which takes microseconds, or milliseconds over a network."""

READY_WITHIN = 30.0
"""Seconds for a process to start on a busy machine."""

GONE_WITHIN = 5.0


class Contender(AbstractContextManager["Contender"]):
    """A process that carries out commands in ``directory``; killed at the end of the block.

    :mod:`gobbler.doctor.contender` has the commands and answers.
    """

    def __init__(self, directory: str, timeout: float = ANSWER_WITHIN) -> None:
        self._timeout = timeout
        self._ours, theirs = socket.socketpair()
        with theirs:
            try:
                self._end = _run(directory, theirs)
            except PermissionError:
                # The account that root acts for may not be allowed to run this interpreter.
                self._end = _fork(directory, theirs, self._ours)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()

    def ready(self) -> None:
        """Wait until the process has started. Raises the errors of :meth:`ask`."""
        self.send("free")
        self._line(max(self._timeout, READY_WITHIN))

    def ask(self, *words: object) -> str:
        """The answer to a command.

        Raises the ``OSError`` of the command, and ``TimeoutError`` if no answer comes.
        """
        self.send(*words)
        return self.receive()

    def send(self, *words: object) -> None:
        """Send a command; :meth:`receive` returns its answer."""
        self._ours.sendall((" ".join(map(str, words)) + "\n").encode())

    def receive(self) -> str:
        """The answer to the last command. Raises the errors of :meth:`ask`."""
        answer = self._line(self._timeout)
        if answer.startswith("failed "):
            number = int(answer.removeprefix("failed "))
            raise OSError(number, os.strerror(number))
        return answer

    def _line(self, timeout: float) -> str:
        deadline = time.monotonic() + timeout
        line = b""
        while not line.endswith(b"\n"):
            self._ours.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                part = self._ours.recv(65536)
            except TimeoutError:
                raise TimeoutError(f"no answer within {timeout:g} seconds") from None
            if not part:
                raise ChildProcessError(errno.ECHILD, "the process that ran the trial ended early")
            line += part
        return line.decode().rstrip("\n")

    def kill(self) -> None:
        """Kill the process, and wait a few seconds until it is gone."""
        self._ours.close()
        self._end()


def _run(directory: str, theirs: socket.socket) -> Callable[[], None]:
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", script.__file__],
        stdin=theirs.fileno(),
        stdout=theirs.fileno(),
        stderr=subprocess.DEVNULL,
        cwd=directory,
    )
    return partial(_end_run, process)


def _end_run(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    # If that takes longer, the process hangs in the kernel, waiting for a file server.
    with suppress(subprocess.TimeoutExpired):
        process.wait(GONE_WITHIN)


def _fork(directory: str, theirs: socket.socket, ours: socket.socket) -> Callable[[], None]:
    context = multiprocessing.get_context("fork")
    process = context.Process(target=_work, args=(directory, theirs, ours))
    process.start()
    return partial(_end_forked, process)


def _work(directory: str, theirs: socket.socket, ours: socket.socket) -> None:
    ours.close()  # so that this process ends with its parent, however that ends
    # The parent handles Ctrl-C, and kills this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.chdir(directory)
    with theirs.makefile("r") as commands, theirs.makefile("w") as answers:
        script.main(commands, answers)


def _end_forked(process: BaseProcess) -> None:
    process.kill()
    process.join(GONE_WITHIN)


ContenderType = Callable[[str], Contender]


@contextmanager
def contenders(
    directory: str, number: int, new: ContenderType = Contender
) -> Iterator[list[Contender]]:
    """``number`` processes in ``directory``, all ready."""
    with ExitStack() as stack:
        found = [stack.enter_context(new(directory)) for _ in range(number)]
        for each in found:
            each.ready()
        yield found
