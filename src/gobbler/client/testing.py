"""A real service in a process of its own, for tests, tutorials and trials; and a free port for it.

Between finding a free port and listening there, another process may take it. So a process that
needs a port first binds the UDP port of the same number, which can't be shared, and which the
kernel releases when the process ends.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

from gobbler.client import errors
from gobbler.client.connection import StrPath
from gobbler.client.http import Http
from gobbler.client.parallel import ForkSafeLock
from gobbler.client.source import ServiceInfo
from gobbler.errors import Code, Fault
from gobbler.fs.layout import REGISTRY_MODE, STAGING_MODE
from gobbler.fs.open import user_name
from gobbler.fs.removal import remove_tree_quietly

HOST = "127.0.0.1"

PORTS = range(20000, 32768)
"""Below the ports that Linux uses for connections (``ip_local_port_range``, see ``ip(7)``)."""

PORT_ATTEMPTS = 1000


class ReservedPort:
    """A free TCP port of the loopback address, ``number``, chosen from ``among``.

    No other process of this machine that reserves ports in this way gets it until
    :meth:`release`, the end of a ``with`` block or of the process. A process that does not
    reserve ports may still listen there. Raises :class:`~gobbler.errors.Fault` if no port is
    found.
    """

    def __init__(self, among: range = PORTS) -> None:
        for _ in range(PORT_ATTEMPTS):
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
            f"no free port found at {HOST} from {among[0]} to {among[-1]}",
            code=Code.MISCONFIGURED,
            hint="Pass the number of a free port.",
        )

    def release(self) -> None:
        """Let other processes reserve it. Safe to call again."""
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
    """A socket bound to the port ``number``; ``None`` if the port is in use."""
    made = socket.socket(socket.AF_INET, kind)
    try:
        made.bind((HOST, number))
    except OSError as error:
        made.close()
        if error.errno == errno.EADDRINUSE:
            return None
        raise
    return made


def make_directories(top: str) -> tuple[str, str]:
    """Make the directories ``staging`` and ``registry`` in ``top``, with their modes."""
    staging, registry = os.path.join(top, "staging"), os.path.join(top, "registry")
    for path, mode in ((staging, STAGING_MODE), (registry, REGISTRY_MODE)):
        os.mkdir(path)
        os.chmod(path, mode)  # whatever the umask
    return staging, registry


START_SECONDS = 30.0
"""Seconds that a service may take to start: on a busy machine far more than one."""

STOP_SECONDS = 15.0
"""Seconds that a service may take to stop before it is killed."""

SHOWN_BYTES = 8000
"""Bytes of its output that an error includes."""


class TestService:
    """A service that runs until :meth:`stop`. It answers when the constructor returns.

    Args:
        staging: Its staging directory; by default a temporary one.
        registry: Its registry; by default a temporary one.
        port: Its port at the loopback address; by default a reserved one, see
            :mod:`gobbler.client.testing`.
        start_seconds: Seconds within which it must answer.
        admin: Its administrators; by default the current user.
        extra_args: Further arguments for ``gobbler serve``.

    Raises:
        Fault: The service ended, or did not answer in time. The reason includes its
            output; nothing is left behind.
    """

    __test__ = False  # or pytest would collect it

    def __init__(
        self,
        staging: StrPath | None = None,
        registry: StrPath | None = None,
        port: int | None = None,
        *,
        start_seconds: float = START_SECONDS,
        admin: Sequence[str] | None = None,
        extra_args: Sequence[str] = (),
    ) -> None:
        self._own: list[str] = []
        self._reserved: ReservedPort | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._pid = os.getpid()
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - until stop()
        try:
            # Every user must be able to write into staging, and to read the registry.
            self.staging = self._directory("staging", staging, STAGING_MODE)
            self.registry = self._directory("registry", registry, REGISTRY_MODE)
            self.port = self._any_port() if port is None else port
            self.url = f"http://{HOST}:{self.port}"
            self._start([_this_user()] if admin is None else admin, extra_args)
            self._await(start_seconds, _prefix(extra_args))
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
        """The last lines that the service has printed so far."""
        # The service shares the position of the file, which therefore must not move.
        file = self._output.fileno()
        last = os.pread(file, SHOWN_BYTES, max(0, os.fstat(file).st_size - SHOWN_BYTES))
        return last.decode(errors="replace").strip()

    def _start(self, admin: Sequence[str], extra_args: Sequence[str]) -> None:
        command = [sys.executable, "-m", "gobbler", "serve"]
        command += ["--staging", self.staging, "--registry", self.registry]
        command += ["--port", str(self.port)]
        if admin:
            command += ["--admin", ",".join(admin)]
        # A session of its own: Ctrl-C ends the program that waits for an answer, which then
        # stops the service in good order.
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
                    hint="Correct what the output of the service shows, above.",
                )
            # OSError: no process listens yet. errors.RequestFailed: another one does.
            with contextlib.suppress(errors.RequestFailed, OSError):
                socket.create_connection((HOST, self.port), 1).close()
                if _same(http.get("/info", ServiceInfo).staging, self.staging):
                    return
            time.sleep(0.02)
        raise Fault(
            f"the service did not answer within {seconds:g} seconds:\n{self.output()}",
            code=Code.TIMEOUT,
            hint="See the output of the service above, or allow more seconds.",
        )

    def stop(self) -> None:
        """Stop the service, and remove the temporary directories that were made for it.

        Safe to call again. Does nothing in a forked child.
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
            remove_tree_quietly(self._own.pop())


def _this_user() -> str:
    return user_name(os.geteuid())


def _prefix(arguments: Sequence[str]) -> str:
    """The prefix of every endpoint, by the ``arguments`` of the service."""
    for i, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name in ("-prefix", "--prefix"):
            given = value if equals else "".join(arguments[i + 1 : i + 2])
            return "/" + given.strip("/") if given.strip("/") else ""
    return ""


def _same(path: str, other: str) -> bool:
    """Whether two paths are the same directory; else another service has the port."""
    return os.path.realpath(path) == os.path.realpath(other)


_running: TestService | None = None
_lock = ForkSafeLock()


def start(
    staging: StrPath | None = None,
    registry: StrPath | None = None,
    port: int | None = None,
    *,
    start_seconds: float = START_SECONDS,
    admin: Sequence[str] | None = None,
    extra_args: Sequence[str] = (),
) -> tuple[bool, TestService]:
    """Start the one service of this process, if it does not run yet; return whether it was new.

    It runs until :func:`stop`, or the end of the interpreter. The arguments are those of
    :class:`TestService`, and have no effect if the service runs already.
    """
    global _running  # noqa: PLW0603 - there is one for the process
    with _lock:
        if _running is not None:
            return False, _running
        _running = TestService(
            staging,
            registry,
            port,
            start_seconds=start_seconds,
            admin=admin,
            extra_args=extra_args,
        )
        atexit.register(_running.stop)
        return True, _running


def stop() -> None:
    """Stop the service of :func:`start`, if there is one."""
    global _running  # noqa: PLW0603 - see start
    with _lock:
        if _running is not None:
            atexit.unregister(_running.stop)
            _running.stop()
            _running = None
