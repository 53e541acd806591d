"""Processes that compete for files, and are waited for no longer than a while."""

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

PATIENCE = 10.0
"""Seconds in which an answer must come; each takes microseconds, on a network a moment."""

READY_WITHIN = 30.0
"""Seconds in which a process must have started, however busy the machine is."""

GONE_WITHIN = 5.0


class Party(AbstractContextManager["Party"]):
    """A process that works in ``directory`` as it is told; killed at the end of the block.

    Commands and answers are those of :mod:`gobbler.doctor.contender`.
    """

    def __init__(self, directory: str, patience: float = PATIENCE) -> None:
        self._patience = patience
        self._ours, theirs = socket.socketpair()
        with theirs:
            try:
                self._end = _run(directory, theirs)
            except PermissionError:
                # An account that root acts for may not be able to run this interpreter.
                self._end = _fork(directory, theirs)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()

    def ready(self) -> None:
        """Wait until the process has started; raises as :meth:`ask`."""
        self.tell("free")
        self._line(max(self._patience, READY_WITHIN))

    def ask(self, *words: object) -> str:
        """The answer to a command.

        Raises ``OSError`` with what the system said there; ``TimeoutError`` if no answer
        comes.
        """
        self.tell(*words)
        return self.hear()

    def tell(self, *words: object) -> None:
        """Give a command whose answer is heard later."""
        self._ours.sendall((" ".join(map(str, words)) + "\n").encode())

    def hear(self) -> str:
        """The answer to the last command; raises as :meth:`ask`."""
        answer = self._line(self._patience)
        if answer.startswith("failed "):
            number = int(answer.removeprefix("failed "))
            raise OSError(number, os.strerror(number))
        return answer

    def _line(self, patience: float) -> str:
        deadline = time.monotonic() + patience
        line = b""
        while not line.endswith(b"\n"):
            self._ours.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                part = self._ours.recv(65536)
            except TimeoutError:
                raise TimeoutError(f"no answer within {patience:g} seconds") from None
            if not part:
                raise ChildProcessError(errno.ECHILD, "the process that tried it ended early")
            line += part
        return line.decode().rstrip("\n")

    def kill(self) -> None:
        """Kill the process, and wait a while until it is gone."""
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
    # If it takes longer, it hangs in the kernel, waiting for a file server.
    with suppress(subprocess.TimeoutExpired):
        process.wait(GONE_WITHIN)


def _fork(directory: str, theirs: socket.socket) -> Callable[[], None]:
    context = multiprocessing.get_context("fork")
    process = context.Process(target=_work, args=(directory, theirs))
    process.start()
    return partial(_end_forked, process)


def _work(directory: str, theirs: socket.socket) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who will kill us
    os.chdir(directory)
    with theirs.makefile("r") as commands, theirs.makefile("w") as answers:
        script.main(commands, answers)


def _end_forked(process: BaseProcess) -> None:
    process.kill()
    process.join(GONE_WITHIN)


Parties = Callable[[str], Party]


@contextmanager
def gathered(directory: str, number: int, party: Parties = Party) -> Iterator[list[Party]]:
    """Several processes in ``directory``, all of them ready."""
    with ExitStack() as stack:
        parties = [stack.enter_context(party(directory)) for _ in range(number)]
        for each in parties:
            each.ready()
        yield parties
