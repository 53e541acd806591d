"""A false service gets nothing out of a user who asks it for something."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from .processes import Place, Running, account, identity, interpreter, public_place

__all__ = ["public_place"]

SERVICE, ALICE, BOB = "gtservice", "gtalice", "gtbob"


class FalseService:
    """Answers ``/info`` with directories of its choice, and tells when something was sent."""

    def __init__(self, staging: Path, registry: Path) -> None:
        answer = json.dumps({"staging": str(staging), "registry": str(registry)}).encode()
        self.on_request: Callable[[str], None] = lambda name: None
        self.posted: list[str] = []
        false = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = b"[]" if "/list" in self.path else answer
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:
                false.posted.append(self.path.rpartition("/")[2].partition("?")[0])
                false.on_request(false.posted[-1])
                body = b'{"status": "SUCCESS"}'
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def trap(public_place: Place) -> Path:
    made = public_place.top / "trap"
    made.mkdir()
    os.chown(made, account(BOB), -1)
    made.chmod(0o777)
    if shutil.which("setfacl"):
        subprocess.run(["setfacl", "-d", "-m", "u::rwx,g::rwx,o::rwx", made], check=False)
    return made


@pytest.fixture
def false(public_place: Place, trap: Path) -> Iterator[FalseService]:
    """One that names the registry of the real service, which makes it look right."""
    (public_place.registry / "p").mkdir()
    permissions = {"owners": [ALICE], "uploaders": []}
    (public_place.registry / "p" / "..permissions").write_text(json.dumps(permissions))
    os.chown(public_place.registry, account(SERVICE), -1)
    service = FalseService(trap, public_place.registry)
    yield service
    service.close()


def run(user: str, home: Path, *words: object) -> subprocess.CompletedProcess[str]:
    python, around = interpreter(user)
    home.mkdir(exist_ok=True)
    os.chown(home, account(user), -1)
    return subprocess.run(
        [python, *map(str, words)],
        env={**around, "HOME": str(home)},
        cwd=home,
        capture_output=True,
        text=True,
        timeout=120,
        **identity(user),
    )


COMMANDS = [
    ["create-project", "p"],
    ["upload", "results", "p/a/1"],
    ["upload", "results", "p/a/1", "--no-wait"],
    ["permissions", "add", "p", "--owner", BOB],
    ["probation", "approve", "p/a/1"],
    ["refresh", "usage", "p"],
    ["jobs", "ls"],
    ["jobs", "cancel", "1-request-upload-1"],
]


@pytest.mark.parametrize("named", [False, True], ids=["staging of /info", "staging by name"])
def test_commands_put_nothing_into_a_trap(
    false: FalseService, trap: Path, public_place: Place, named: bool
) -> None:
    home = public_place.top / "home"
    (home / "results").mkdir(parents=True)
    (home / "results/f").write_text("x")
    for words in COMMANDS:
        more = [f"--staging={trap}"] if named else []
        done = run(ALICE, home, "-m", "gobbler", *words, f"--url={false.url}", *more)
        assert done.returncode not in (0, 1), (words, done.stdout, done.stderr)
        assert f"belongs to {BOB}" in done.stderr, (words, done.stderr)
        assert os.listdir(trap) == []
    assert false.posted == []


def test_python_puts_nothing_into_a_trap(
    false: FalseService, trap: Path, public_place: Place
) -> None:
    home = public_place.top / "home"
    (home / "results").mkdir(parents=True)
    (home / "results/f").write_text("x")
    script = (
        "import sys, pygobbler\n"
        "from gobbler import Client\n"
        f"url, trap = {false.url!r}, {str(trap)!r}\n"
        "client = Client(url)\n"
        "for call in (\n"
        "    lambda: client.admin.create_project('p'),\n"
        "    lambda: client.allocate_upload_directory(),\n"
        "    lambda: client.connection.request('health_check'),\n"
        "    lambda: client.connection.start('health_check'),\n"
        "    lambda: pygobbler.create_project('p', staging=trap, url=url),\n"
        "    lambda: pygobbler.upload_directory('p', 'a', '1', 'results', trap, url),\n"
        "    lambda: pygobbler.allocate_upload_directory(trap),\n"
        "):\n"
        "    try:\n"
        "        call()\n"
        "    except Exception as error:\n"
        "        print(type(error).__name__, getattr(error, 'code', ''))\n"
        "    else:\n"
        "        print('done')\n"
    )
    done = run(ALICE, home, "-c", script)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["Forbidden untrusted-staging"] * 7, done.stderr
    assert os.listdir(trap) == []
    assert false.posted == []


def test_what_a_user_writes_can_not_be_rewritten(public_place: Place) -> None:
    """Even where the directory is right, and its default ACL is not."""
    os.chown(public_place.registry, account(SERVICE), -1)
    public_place.staging.chmod(0o1777)
    if shutil.which("setfacl") is None:
        pytest.skip("there is no setfacl: install the package acl")
    everything = f"u::rwx,g::rwx,o::rwx,u:{BOB}:rwx,m::rwx"
    done = subprocess.run(["setfacl", "-d", "-m", everything, public_place.staging])
    if done.returncode:
        pytest.skip("the filesystem of the tests keeps no ACLs")
    false = FalseService(public_place.staging, public_place.registry)
    seen: list[int] = []

    def rewrite(name: str) -> None:
        path = public_place.staging / name
        for script in (f"echo '{{}}' >{path}", f"mv {path} {path}-2", f"rm -f {path}"):
            done = subprocess.run(["sh", "-c", script], stderr=subprocess.DEVNULL, **identity(BOB))
            seen.append(done.returncode)
        assert path.stat().st_uid == pwd.getpwnam(ALICE).pw_uid
        seen.append(path.read_text().count("mine"))

    false.on_request = rewrite
    try:
        home = public_place.top / "home"
        done = run(ALICE, home, "-m", "gobbler", "create-project", "mine", f"--url={false.url}")
    finally:
        false.close()
    assert done.returncode == 0, done.stderr
    assert len(seen) == 4
    assert all(seen)


def test_the_spool_of_somebody_else_is_a_trap(public_place: Place) -> None:
    os.chown(public_place.registry, account(SERVICE), -1)
    script = "mkdir ..spool; cd ..spool; mkdir tmp new cur; chmod 777 . tmp new cur"
    subprocess.run(["sh", "-c", script], cwd=public_place.staging, check=True, **identity(BOB))
    home = public_place.top / "home"
    at = [f"--staging={public_place.staging}", f"--registry={public_place.registry}"]
    done = run(ALICE, home, "-m", "gobbler", "create-project", "p", *at)
    assert done.returncode not in (0, 1)
    assert f"belongs to {BOB}" in done.stderr
    spool = public_place.staging / "..spool"
    assert [os.listdir(spool / name) for name in ("tmp", "new")] == [[], []]


def test_staging_may_belong_to_root_or_to_the_service(public_place: Place) -> None:
    for path in (public_place.registry, public_place.staging):
        os.chown(path, account(SERVICE), -1)
    home = public_place.top / "home"
    with Running(public_place, f"--admin={ALICE}", user=SERVICE) as running:
        for owner, name in ((account(SERVICE), "p"), (0, "q")):
            os.chown(public_place.staging, owner, -1)
            words = ["-m", "gobbler", "create-project", name, f"--url={running.url}"]
            done = run(ALICE, home, *words)
            assert done.returncode == 0, done.stderr
