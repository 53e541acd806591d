"""Commands of ours in processes that need not import them: forked from one that has.

The process is another user's, has another environment, umask and directory, if a test wants that,
and ends like any other; but a file that the user can't read was read before. What depends on how
the interpreter starts (its locale, a terminal) needs ``python -m gobbler``.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import pkgutil
import pty
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

TOP = Path(__file__).parents[2]

LATE = (
    "click._textwrap",
    "concurrent.futures.thread",
    "difflib",
    "email.utils",
    "encodings.ascii",
    "encodings.idna",
    "encodings.latin_1",
    "html",
    "json",
    "logging",
    "rich._emoji_codes",
    "rich.progress",
    "rich.table",
    "shutil",
    "tempfile",
    "tomlkit",
    "tomllib" if sys.version_info >= (3, 11) else "tomli",
)
"""What is imported only when it is needed."""

PATIENCE = 120.0
"""Seconds that a command may take."""


class Forked:
    """The process from which commands are forked, one after the other."""

    def __init__(self) -> None:
        self._one_at_a_time = threading.Lock()
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.settimeout(PATIENCE)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.service.commands", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                cwd=TOP,
                start_new_session=True,  # Ctrl-C is not for it: it ends with the socket
            )

    def run(
        self,
        words: Sequence[object],
        *,
        environment: Mapping[str, str],
        cwd: str | Path = "/",
        user: tuple[int, int] | None = None,
        umask: int = 0o022,
    ) -> subprocess.CompletedProcess[str]:
        """Run ``gobbler`` with ``words``, as a ``user`` and a group that is its only one."""
        given = {
            "words": [str(word) for word in words],
            "environment": dict(environment),
            "cwd": str(cwd),
            "user": user,
            "umask": umask,
        }
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            code = self._await(given, [out.fileno(), err.fileno()])
            said = []
            for file in (out, err):
                file.seek(0)
                said.append(file.read().decode(errors="replace"))
        return subprocess.CompletedProcess(given["words"], code, *said)

    def run_at(
        self, terminal: int, words: Sequence[object], *, environment: Mapping[str, str]
    ) -> int:
        """Run ``gobbler`` with an open terminal for all that it prints; its exit code.

        Somebody else has to read at the other end meanwhile.
        """
        texts = [str(word) for word in words]
        given = {"words": texts, "environment": dict(environment), "cwd": "/"}
        return self._await({**given, "user": None, "umask": 0o022}, [terminal, terminal])

    def _await(self, given: dict[str, object], output: list[int]) -> int:
        with self._one_at_a_time:
            socket.send_fds(self._socket, [json.dumps(given).encode()], output)
            return int(self._socket.recv(100))


@functools.cache
def forked() -> Forked:
    """The one of this process."""
    return Forked()


def on_terminal(*words: object, **environment: str) -> tuple[int, str]:
    """Run a command on a terminal; its exit code and what the terminal gets."""
    controller, terminal = pty.openpty()
    shown: list[bytes] = []
    reader = threading.Thread(target=_read_all, args=(controller, shown))
    reader.start()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "200", **environment}
    try:
        code = forked().run_at(terminal, words, environment=environment)
    finally:
        os.close(terminal)
        reader.join()
        os.close(controller)
    return code, b"".join(shown).decode("utf-8", "surrogateescape")


def _read_all(controller: int, shown: list[bytes]) -> None:
    with contextlib.suppress(OSError):  # the other end is closed
        while piece := os.read(controller, 65536):
            shown.append(piece)


def _load() -> None:
    """Import all that a command may need: its user may not read this installation."""
    for name in ("gobbler.cli", "gobbler.client", *LATE):
        module = importlib.import_module(name)
        for found in pkgutil.walk_packages(getattr(module, "__path__", []), f"{name}."):
            importlib.import_module(found.name)


def _serve(connection: socket.socket) -> None:
    while True:
        data, descriptors, _, _ = socket.recv_fds(connection, 1 << 20, 2)
        if not data:
            return
        child = os.fork()
        if child == 0:
            connection.close()
            _become(json.loads(data), descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        connection.send(str(code).encode())


def _become(given: dict[str, object], descriptors: list[int]) -> None:
    """Be the command, and end the process."""
    from gobbler.cli import main  # noqa: PLC0415 - the parent has loaded it

    gc.freeze()  # what the parent has loaded is not looked at, which would copy its memory
    os.setsid()
    for number, descriptor in enumerate(descriptors, 1):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(str(given["cwd"]))
    os.umask(int(str(given["umask"])))
    os.environ.clear()
    os.environ.update(dict(given["environment"]))  # type: ignore[call-overload]
    if given["user"] is not None:
        uid, gid = given["user"]  # type: ignore[misc]
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.stdout = sys.__stdout__ = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = sys.__stderr__ = open(  # noqa: SIM115
        2, "w", encoding="utf-8", errors="backslashreplace", closefd=False, buffering=1
    )
    sys.argv = ["gobbler", *given["words"]]  # type: ignore[misc]
    code = 1
    try:
        main()
    except SystemExit as end:
        code = int(str(end.code or 0))
    except BaseException:  # noqa: BLE001 - as the interpreter shows it
        sys.excepthook(*sys.exc_info())
    finally:
        # As the interpreter ends, but without freeing all that the parent has loaded.
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as own:
        _load()
        _serve(own)
