"""A process from which services are forked, so that a start need not import the package.

``python -m tests.syscalls.nursery`` reads a line of JSON for each service (``arguments`` of
the command line, ``output`` for what it says) and answers with its process ID. What is
forked is the leader of a session and runs the same ``main`` as ``gobbler`` does.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

TOP = Path(__file__).parents[2]


class Nursery:
    """The process, as long as this one lives."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.syscalls.nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=TOP,
            start_new_session=True,  # Ctrl-C is not for it: it ends with its input
        )

    def start(self, arguments: list[str], output: Path, many: int | None = None) -> int:
        """Start ``gobbler`` with ``arguments``; its process ID.

        ``many``: the number of files above which a local pool gets them, and is kept.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock:
            words = json.dumps({"arguments": arguments, "output": str(output), "many": many})
            self._process.stdin.write(words + "\n")
            self._process.stdin.flush()
            return int(self._process.stdout.readline())


@functools.cache
def nursery() -> Nursery:
    """The one of this process."""
    return Nursery()


def _serve() -> None:
    # The imports are the purpose: a fork of this process need not load them.
    from gobbler.cli import main  # noqa: PLC0415
    from gobbler.cli import serve as _serve_command  # noqa: F401, PLC0415
    from gobbler.service import supervisor  # noqa: F401, PLC0415

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that end
    for line in sys.stdin:
        wanted = json.loads(line)
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _become(wanted["output"])
            if wanted["many"] is not None:
                _pool_from(wanted["many"])
            main(wanted["arguments"])
        print(child, flush=True)


def _pool_from(many: int) -> None:
    from gobbler.transfer import dispatch, local_pool  # noqa: PLC0415 - see above

    dispatch.MANY_FILES, dispatch.MIN_BATCH_FILES = many, 1
    local_pool.IDLE_SECONDS, local_pool.RETRY_SECONDS = 3600.0, 0.0


def _become(output: str) -> None:
    os.setsid()
    os.chdir("/")
    nothing = os.open("/dev/null", os.O_RDONLY)
    said = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for number, descriptor in enumerate((nothing, said, said)):
        os.dup2(descriptor, number)
    os.closerange(3, 64)


if __name__ == "__main__":
    _serve()
