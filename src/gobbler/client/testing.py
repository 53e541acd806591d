"""A real service in a process of its own, for tests, tutorials and trials.

Ports for services that are started for a while, so that no two of them get the same one.

To look which port is free and to listen there are two steps, and who is quick gets between
them. What is worse, a service that shares its port with others of its kind (``SO_REUSEPORT``,
see ``socket(7)``) is not told: half of the requests go to the wrong one. So whoever wants a
port first takes the UDP port of the same number, which nobody can share, and which the kernel
frees when the process ends, however it ends.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence

from gobbler.client.connection import StrPath
from gobbler.client.errors import RequestFailed
from gobbler.client.http import Http
from gobbler.client.source import ServiceInfo
from gobbler.errors import Fault

PATIENCE_SECONDS = 30.0
"""How long a service may take to come up: on a busy machine that is far from a second."""

STOP_SECONDS = 15.0
SHOWN_BYTES = 8000


class TestService:
    """A service that was started here and ends with :meth:`stop`.

    ``staging`` and ``registry`` are made, and removed in the end, where they are not
    given; ``port`` is a free one of the loopback unless given, which no other service that is
    started in this way can get meanwhile; ``admin`` are the administrators, the present user
    unless given. ``extra_args`` are appended to the
    command line of ``gobbler serve``.

    Returns once the service answers. Raises :class:`~gobbler.errors.Fault` with the
    service's own output if it ends, or does not answer within ``wait`` seconds (or
    :data:`PATIENCE_SECONDS`, if that is longer); nothing is left behind then.
    """

    __test__ = False  # pytest takes it for a class of tests otherwise

    def __init__(
        self,
        staging: StrPath | None = None,
        registry: StrPath | None = None,
        port: int | None = None,
        *,
        wait: float = 0,
        admin: Sequence[str] | None = None,
        extra_args: Sequence[str] = (),
    ) -> None:
        self._own: list[str] = []
        self._reserved: ReservedPort | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._pid = os.getpid()
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - until stop()
        try:
            # As every user must be able to: put files into staging, and read the registry.
            self.staging = self._directory("staging", staging, 0o1777)
            self.registry = self._directory("registry", registry, 0o755)
            self.port = self._any_port() if port is None else port
            self.url = f"http://{HOST}:{self.port}"
            self._start([_this_user()] if admin is None else admin, extra_args)
            self._await(max(wait, PATIENCE_SECONDS), _prefix(extra_args))
        except BaseException:
            self.stop()
            raise

    def _any_port(self) -> int:
        self._reserved = ReservedPort()
        return self._reserved.number

    def _directory(self, what: str, given: StrPath | None, mode: int) -> str:
        if given is not None:
            return os.fspath(given)
        made = tempfile.mkdtemp(prefix=f"gobbler-{what}-")
        self._own.append(made)
        os.chmod(made, mode)
        return made

    def output(self) -> str:
        """The end of what the service has printed so far."""
        # The service writes on at the same file position, which therefore must not move.
        file = self._output.fileno()
        last = os.pread(file, SHOWN_BYTES, max(0, os.fstat(file).st_size - SHOWN_BYTES))
        return last.decode(errors="replace").strip()

    def _start(self, admin: Sequence[str], extra_args: Sequence[str]) -> None:
        command = [sys.executable, "-m", "gobbler", "serve"]
        command += ["--staging", self.staging, "--registry", self.registry]
        command += ["--port", str(self.port)]
        if admin:
            command += ["--admin", ",".join(admin)]
        # A session of its own: Ctrl-C is for the one who waits for an answer, not for the
        # service, which is ended in good order afterwards.
        self._process = subprocess.Popen(
            [*command, *extra_args],
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def _await(self, seconds: float, prefix: str) -> None:
        assert self._process is not None
        http = Http(self.url + prefix)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise Fault(
                    f"the service ended with {self._process.returncode}:\n{self.output()}",
                    hint="The last lines are its own.",
                )
            # Nobody listens yet. RequestFailed: somebody else does.
            with contextlib.suppress(RequestFailed, OSError):
                socket.create_connection((HOST, self.port), 1).close()
                if _same(http.get("/info", ServiceInfo).staging, self.staging):
                    return
            time.sleep(0.02)
        raise Fault(
            f"the service did not answer within {seconds:g} seconds:\n{self.output()}",
            hint="The last lines are its own.",
        )

    def stop(self) -> None:
        """End the service and remove the directories that were made for it.

        Safe to call again, and without effect in a forked child.
        """
        if os.getpid() != self._pid:
            return
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if self._reserved is not None:
            self._reserved.release()
        self._output.close()
        while self._own:
            shutil.rmtree(self._own.pop(), ignore_errors=True)


def _this_user() -> str:
    return pwd.getpwuid(os.geteuid()).pw_name


def _prefix(arguments: Sequence[str]) -> str:
    """What ``arguments`` put before every endpoint."""
    for i, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name in ("-prefix", "--prefix"):
            given = value if equals else "".join(arguments[i + 1 : i + 2])
            return "/" + given.strip("/") if given.strip("/") else ""
    return ""


def _same(path: str, other: str) -> bool:
    """Whether two paths mean the same directory: another service may have the port."""
    return os.path.realpath(path) == os.path.realpath(other)


_running: TestService | None = None
_lock = threading.Lock()


def start(
    staging: StrPath | None = None,
    registry: StrPath | None = None,
    port: int | None = None,
    *,
    wait: float = 0,
    admin: Sequence[str] | None = None,
    extra_args: Sequence[str] = (),
) -> tuple[bool, TestService]:
    """The one service of this process, started if it does not run yet, and whether it was.

    It ends with :func:`stop`, or with the interpreter. The parameters are those of
    :class:`TestService` and mean nothing to a service that runs already.
    """
    global _running  # noqa: PLW0603 - one for the process is what this is about
    with _lock:
        if _running is not None:
            return False, _running
        _running = TestService(
            staging, registry, port, wait=wait, admin=admin, extra_args=extra_args
        )
        atexit.register(_running.stop)
        return True, _running


def stop() -> None:
    """End the service of :func:`start`, if there is one."""
    global _running  # noqa: PLW0603 - see start
    with _lock:
        if _running is not None:
            atexit.unregister(_running.stop)
            _running.stop()
            _running = None


HOST = "127.0.0.1"

PORTS = range(20000, 32768)
"""Below those that Linux gives to connections (``ip_local_port_range``, see ``ip(7)``)."""

ATTEMPTS = 1000


class ReservedPort:
    """A TCP port of the loopback where nobody listens, of those ``among`` which to choose.

    Until :meth:`release`, or the end of a ``with`` block, it is given to nobody else who takes
    a port in this way, in whichever process of this machine. Who doesn't may still listen at
    it. ``number`` is the port. Raises :class:`~gobbler.errors.Fault` where none is found.
    """

    def __init__(self, among: range = PORTS) -> None:
        for _ in range(ATTEMPTS):
            self.number = secrets.choice(among)
            lock = _bound(self.number, socket.SOCK_DGRAM)
            if lock is None:
                continue
            if not _is_free(self.number):
                lock.close()
                continue
            self._lock = lock
            return
        raise Fault(
            f"no port of {HOST} was found free, of those from {among[0]} to {among[-1]}",
            hint="Name one that is.",
        )

    def release(self) -> None:
        """Let others have it; safe to call again."""
        self._lock.close()

    def __enter__(self) -> ReservedPort:
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()


def _is_free(number: int) -> bool:
    probe = _bound(number, socket.SOCK_STREAM)
    if probe is None:
        return False
    probe.close()
    return True


def _bound(number: int, kind: socket.SocketKind) -> socket.socket | None:
    """A socket at the port ``number``; ``None`` if another has that."""
    made = socket.socket(socket.AF_INET, kind)
    try:
        made.bind((HOST, number))
    except OSError as error:
        made.close()
        if error.errno == errno.EADDRINUSE:
            return None
        raise
    return made
