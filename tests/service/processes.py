"""Services in processes of their own, handled as an administrator and an attacker would."""

from __future__ import annotations

import contextlib
import functools
import http.client
import json
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import pytest
import requests

import gobbler
from gobbler.client.testing import HOST, ReservedPort

T = TypeVar("T")

ATTENTIVE = ("env", "--default-signal=HUP,INT,TERM")
"""Runs a command that heeds signals, even if the tests run with some ignored (``nohup``)."""

ENDLESS = min(400 << 30, shutil.disk_usage(tempfile.gettempdir()).total // 4)
"""Bytes of a sparse file that nobody copies to its end; more than the disk has are refused."""

PATIENCE = 30.0
"""Seconds that anything may take."""


USERADD = (
    *("flock", f"{tempfile.gettempdir()}/gobbler-tests-useradd", "sh", "-c"),
    'id "$0" || useradd --no-create-home --shell /usr/sbin/nologin "$0"',
)
"""Makes an account unless it is there; one at a time, for tests may run side by side."""


def wait_for(what: str, condition: Callable[[], T], patience: float = PATIENCE) -> T:
    """Wait until ``condition()`` is true; its value."""
    deadline = time.monotonic() + patience
    while not (value := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"waited {patience:g} seconds in vain: {what}")
        time.sleep(0.01)
    return value


def account(name: str) -> int:
    """The user ID of the account ``name``, which is made if it is missing."""
    if os.geteuid() != 0:
        pytest.skip("needs several accounts, which only root can act for")
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        if shutil.which("useradd") is None:
            pytest.skip(f"there is no account {name}, and no useradd to make it with")
    command = [*USERADD, name]
    subprocess.run(command, check=True, capture_output=True)
    return pwd.getpwnam(name).pw_uid


def own_name() -> str:
    return pwd.getpwuid(os.geteuid()).pw_name


@pytest.fixture
def public_place() -> Iterator[Place]:
    """A place that every account can reach, unlike the directories that pytest makes."""
    with _public_place() as place:
        yield place


@pytest.fixture(scope="module")
def shared_place() -> Iterator[Place]:
    """The same for all tests of a file."""
    with _public_place() as place:
        yield place


@contextlib.contextmanager
def _public_place() -> Iterator[Place]:
    with tempfile.TemporaryDirectory(prefix="gobbler-service-") as directory:
        os.chmod(directory, 0o755)
        yield Place(Path(directory))


@functools.cache
def interpreter(user: str | None) -> tuple[str, dict[str, str]]:
    """A Python that ``user`` can run, and the environment in which it finds this package.

    The present one may stand where other accounts can't go, such as in a home directory.
    """
    here = dict(os.environ)
    if user is None:
        return sys.executable, here
    paths = [str(Path(gobbler.__file__).parent.parent), *filter(None, sys.path)]
    there = {**here, "PYTHONPATH": os.pathsep.join(paths), "HOME": "/"}
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    others = (shutil.which(name, path=path) for path in ("/usr/local/bin", "/usr/bin"))
    for python, environment in ((sys.executable, here), *((o, there) for o in others if o)):
        command = [python, "-c", "import gobbler.service.supervisor"]
        with contextlib.suppress(PermissionError):
            if subprocess.run(command, env=environment, cwd="/", **identity(user)).returncode == 0:
                return python, environment
    pytest.skip(f"there is no Python that the account {user} can run")


_WITH_CONSTANTS = """
import importlib
for module, name, value in {places!r}:
    setattr(importlib.import_module(module), name, value)
from gobbler.cli import main
main()
"""


def run_as(
    user: str | None, *flags: str, constants: Mapping[str, float] | None = None
) -> dict[str, Any]:
    """The arguments of a subprocess that is ``gobbler serve`` with ``flags``.

    ``constants``: values for others than those of its code, by module and name with a colon
    between them.
    """
    python, environment = interpreter(user)
    start = ["-m", "gobbler"]
    if constants:
        places = [(*name.split(":"), value) for name, value in constants.items()]
        start = ["-c", _WITH_CONSTANTS.format(places=places)]
    command = [python, *start, "serve", *flags]
    return {"args": command, "env": environment, "cwd": "/", **identity(user)}


def identity(user: str | None) -> dict[str, Any]:
    if user is None:
        return {}
    return {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}


class Place:
    """A staging directory and a registry below ``top``."""

    def __init__(self, top: Path, owner: int | None = None) -> None:
        self.top, self.staging, self.registry = top, top / "staging", top / "registry"
        self.staging.mkdir()
        self.staging.chmod(0o1733)
        self.registry.mkdir()
        self.registry.chmod(0o755)
        if owner is not None:
            for path in (self.staging, self.registry):
                os.chown(path, owner, -1)

    def incoming(self) -> list[str]:
        return os.listdir(self.registry / "..incoming")

    def read(self, path: str) -> Any:
        return json.loads((self.registry / path).read_bytes())

    def stage(self, files: dict[str, bytes | int], uid: int | None = None) -> str:
        """A source with ``files``; its name. Numbers are sizes of sparse files.

        A sparse file begins with some data, so a copy has a size as soon as it has begun.
        """
        name = secrets.token_hex(6)
        for path, content in files.items():
            place = self.staging / name / path
            place.parent.mkdir(parents=True, exist_ok=True)
            with place.open("wb") as handle:
                if isinstance(content, int):
                    handle.write(b"data"[:content])
                    handle.truncate(content)
                else:
                    handle.write(content)
        if uid is not None:
            source = self.staging / name
            for place in (source, *source.rglob("*")):
                os.chown(place, uid, -1, follow_symlinks=False)
        return name

    def write_request(self, action: str, payload: object, uid: int | None = None) -> str:
        name = f"request-{action}-{secrets.token_hex(6)}"
        (self.staging / name).write_text(json.dumps(payload))
        if uid is not None:
            os.chown(self.staging / name, uid, -1)
        return name


class Running:
    """``gobbler serve`` at a :class:`Place`, killed at the end of the block if need be."""

    def __init__(
        self,
        place: Place,
        *flags: str,
        user: str | None = None,
        prefix: str = "",
        variables: Mapping[str, str] | None = None,
        umask: int = -1,
        constants: Mapping[str, float] | None = None,
    ) -> None:
        self.place = place
        with contextlib.ExitStack() as held:
            port = held.enter_context(ReservedPort()).number
            self.root = f"http://{HOST}:{port}"
            self.url = self.root + prefix
            self.log = place.top / f"service-{port}.log"
            command = run_as(
                user,
                *(f"--staging={place.staging}", f"--registry={place.registry}", f"--port={port}"),
                *(f"--admin={own_name()}", "--durability=relaxed", *flags),
                constants=constants,
            )
            command["env"] = {**command["env"], **(variables or {})}
            with self.log.open("wb") as log:
                self.process = subprocess.Popen(stderr=log, umask=umask, **command)
            held.callback(self._end)
            wait_for(f"the service, which said: {self.output()}", self._answers)
            self._held = held.pop_all()

    def _answers(self) -> bool:
        if self.process.poll() is not None:
            pytest.fail(f"the service ended: {self.output()}")
        try:
            return requests.get(self.url + "/info", timeout=PATIENCE).ok
        except requests.ConnectionError:
            return False

    def output(self) -> str:
        return self.log.read_text()

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *exception: object) -> None:
        self._held.close()

    def _end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE)

    def terminate(self) -> int:
        """Send SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def processes(self) -> set[int]:
        """The supervisor, and all processes below it."""
        return descendants(self.process.pid)

    def memory(self) -> int:
        """Bytes of memory that all its processes have in use."""
        return sum(_resident(process) for process in self.processes())

    def post(self, name: str) -> requests.Response:
        return requests.post(f"{self.url}/new/{name}", timeout=60)

    def ask(self, action: str, payload: object, uid: int | None = None) -> requests.Response:
        return self.post(self.place.write_request(action, payload, uid))

    def succeed(self, action: str, payload: object, uid: int | None = None) -> dict[str, Any]:
        response = self.ask(action, payload, uid)
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    def begin(self, name: str) -> http.client.HTTPConnection:
        """Send a request without waiting for the answer; closing it is going away."""
        connection = http.client.HTTPConnection(self.root.removeprefix("http://"), timeout=60)
        connection.request("POST", self.url.removeprefix(self.root) + f"/new/{name}")
        return connection


def descendants(process: int) -> set[int]:
    """``process``, and all processes below it."""
    found = {process}
    try:
        for task in Path(f"/proc/{process}/task").iterdir():
            for child in (task / "children").read_text().split():
                found |= descendants(int(child))
    except OSError:
        return found
    return found


def is_alive(process: int) -> bool:
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] not in "ZX"


def _resident(process: int) -> int:
    try:
        pages = Path(f"/proc/{process}/statm").read_text().split()[1]
    except OSError:
        return 0
    return int(pages) * os.sysconf("SC_PAGESIZE")


def upload_of(source: str, version: str = "1", **options: object) -> dict[str, object]:
    """The payload of an upload to ``p/a``."""
    return {"project": "p", "asset": "a", "version": version, "source": source, **options}
