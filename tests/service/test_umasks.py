"""Everything works under a umask of 077, 027 or 007: that of the users, and of the service.

Real accounts: the service has its own, one user changes the registry with every command, and
another one reads it.
"""

from __future__ import annotations

import json
import os
import pwd
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .commands import forked
from .processes import Place, Running, account, identity, interpreter, public_place

__all__ = ["public_place"]

SERVICE, ALICE, BOB = "gtservice", "gtalice", "gtbob"

MEAN = [0o077, 0o027, 0o007]


class User:
    """Runs commands as an account, with a home of its own, under a umask."""

    def __init__(self, name: str, running: Running, umask: int) -> None:
        self.name, self.running, self.umask = name, running, umask
        self.home = running.place.top / f"home-{name}"
        self.home.mkdir()
        self.home.chmod(0o700)
        os.chown(self.home, account(name), pwd.getpwnam(name).pw_gid)
        self.python, around = interpreter(name)
        self.environment = {**around, "HOME": str(self.home), "GOBBLER_URL": running.url}
        for variable in ("XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"):
            self.environment.pop(variable, None)

    def call(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words,
            env=self.environment,
            cwd=self.home,
            umask=self.umask,
            capture_output=True,
            text=True,
            timeout=120,
            **identity(self.name),
        )

    def command(self, *words: object, url: bool = True) -> subprocess.CompletedProcess[str]:
        environment = dict(self.environment)
        if not url:
            del environment["GOBBLER_URL"]
        ids = account(self.name), pwd.getpwnam(self.name).pw_gid
        return forked().run(
            words, environment=environment, cwd=self.home, user=ids, umask=self.umask
        )

    def run(self, *words: object, url: bool = True) -> str:
        """The output of a command of ours that succeeds."""
        done = self.command(*words, url=url)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    def fail(self, *words: object) -> str:
        """The error of a command of ours."""
        done = self.command(*words)
        assert done.returncode not in (0, 1), (words, done.stdout, done.stderr)
        return done.stderr

    def script(self, text: str) -> str:
        done = self.call(self.python, "-c", text)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def shell(self, text: str) -> str:
        done = self.call("sh", "-ec", text)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(params=MEAN, ids=[f"{umask:03o}" for umask in MEAN])
def umask(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def running(public_place: Place, umask: int) -> Iterator[Running]:
    os.chown(public_place.registry, account(SERVICE), -1)
    if umask != 0o027:  # else it is root's, and the service can't list it either
        os.chown(public_place.staging, account(SERVICE), -1)
    with Running(public_place, f"--admin={ALICE}", user=SERVICE, umask=umask) as service:
        yield service
        assert "Traceback" not in service.output()


@pytest.fixture
def alice(running: Running, umask: int) -> User:
    user = User(ALICE, running, umask)
    user.shell(
        "mkdir -p results/d/e results/empty; echo one >results/one; echo two >results/d/two;"
        "echo three >results/d/e/three; echo '#!/bin/sh' >results/run; chmod +x results/run;"
        "ln -s ../one results/d/link"
    )
    return user


@pytest.fixture
def bob(running: Running, umask: int) -> User:
    return User(BOB, running, umask)


def everybody_can_read(registry: Path) -> None:
    for path in (registry, *registry.rglob("*")):
        if path.is_symlink() or path.name.startswith("..LOCK"):
            continue
        if "..incoming" in path.parts:
            continue
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o755 if path.is_dir() else 0o644), (path, oct(mode))


def test_every_command(running: Running, alice: User, bob: User) -> None:
    alice.run("create-project", "p", "--owner", ALICE)
    alice.run("upload", "results", "p/a/1")
    alice.shell("echo more >results/more")
    alice.run("upload", "results", "p/a/2")
    job = alice.run("upload", "results", "p/a/3", "--no-wait", "--json")
    name = json.loads(job)["job"]
    alice.run("jobs", "follow", name)
    assert name in alice.run("jobs", "ls")
    assert "done" in alice.run("jobs", "show", name)
    assert "ended" in alice.fail("jobs", "cancel", name)
    alice.run("upload", "results", "p/a/4", "--probation")
    assert "p/a/4" in alice.run("probation", "list")
    alice.run("probation", "approve", "p/a/4")
    alice.run("upload", "results", "p/a/5", "--probation")
    alice.run("probation", "reject", "p/a/5")
    alice.run("permissions", "add", "p", "--uploader", BOB)
    alice.run("permissions", "remove", "p", "--uploader", BOB)
    alice.run("permissions", "set", "p/a", "--owner", ALICE)
    alice.run("clone", "p/a/4", "copy")
    alice.run("upload", "copy", "p/b/1")
    for words in (
        ["ls", "p/a"],
        ["tree", "p/a/1"],
        ["show", "p/a/1"],
        ["diff", "p/a/1", "p/a/2"],
        ["usage", "p"],
        ["info"],
        ["permissions", "get", "p"],
        ["validate", "p/a/1"],
        ["refresh", "usage", "p"],
        ["refresh", "latest", "p/a"],
        ["reindex", "p/a/1"],
        ["reroute", "p/a/1"],
        ["fetch", "p/a/2", "--to", "fetched"],
        ["cat", "p/a/2/one"],
        ["cache", "ls"],
        ["delete", "p/a/1", "--yes"],
    ):
        alice.run(*words)
    assert alice.shell("cat fetched/d/e/three") == "three\n"
    # Another user reads it all, as files and over HTTP.
    everybody_can_read(running.place.registry)
    assert bob.run("cat", "p/a/2/d/two") == "two\n"
    bob.run("fetch", "p/a/4", "--to", "fetched")
    assert bob.shell("cat fetched/d/link") == "one\n"
    assert bob.shell(f"cat {running.place.registry}/p/a/4/d/e/three") == "three\n"
    # No request stays in staging, which nobody needed to list.
    assert [name for name in os.listdir(running.place.staging) if "request" in name[:7]] == []


def test_without_http(running: Running, alice: User) -> None:
    alice.run("create-project", "p")
    place = f"--staging={running.place.staging}"
    alice.run("upload", "results", "p/a/1", "--no-wait", place, url=False)
    alice.run("upload", "results", "p/a/2", place, url=False)
    everybody_can_read(running.place.registry)
    assert (running.place.registry / "p/a/2/d/e/three").read_text() == "three\n"


def test_python(running: Running, alice: User) -> None:
    said = alice.script(
        "from gobbler import Client\n"
        "import pygobbler, json, os\n"
        "client = Client()\n"
        "client.admin.create_project('p')\n"
        "at = client.allocate_upload_directory()\n"
        "open(at + '/file', 'w').write('x')\n"
        "os.chmod(at + '/file', 0o644)\n"
        "client.upload('p/a/1', at, consume=True)\n"
        "client.submit('p/a/2', 'results').wait()\n"
        "info = pygobbler.service_info(client.url)\n"
        "staging, url = info['staging'], client.url\n"
        "pygobbler.upload_directory('p', 'a', '3', 'results', staging, url)\n"
        "pygobbler.set_permissions('p', registry=info['registry'], staging=staging, url=url,\n"
        "    uploaders=[{'id': 'gtbob'}])\n"
        "print(json.dumps(pygobbler.fetch_permissions('p', registry=info['registry'], url=url)))\n"
    )
    assert "gtbob" in said
    everybody_can_read(running.place.registry)


def test_what_the_service_can_not_read_is_named_with_the_command_to_run(
    running: Running, alice: User
) -> None:
    alice.run("create-project", "p")
    staging = running.place.staging
    at = alice.script(
        "from gobbler import Client\n"
        "import os\n"
        "at = Client().allocate_upload_directory()\n"
        "os.mkdir(at + '/d')\n"
        "for name in ('file', 'd/deep'):\n"
        "    open(f'{at}/{name}', 'w').write('x')\n"
        "print(at)\n"
    ).strip()
    own = f"{staging}/mine"
    alice.shell(f"mkdir '{own}'; echo x >'{own}/file'")
    for source, version in ((at, "1"), (own, "2")):
        said = alice.fail("upload", source, f"p/a/{version}")
        command = f"chmod -R a+rX {source}"
        assert command in said
        alice.shell(command)
        alice.run("upload", source, f"p/a/{version}")


def test_a_request_file_of_an_older_client(running: Running, alice: User) -> None:
    path = running.place.staging / "request-health_check-1"
    alice.shell(f"echo '{{}}' >{path}")
    answer: dict[str, Any] = running.post(path.name).json()
    assert answer["code"] == "unreadable"
    assert f"chmod 644 {path}" in answer["reason"]
    alice.shell(f"chmod 644 {path}")
    assert running.post(path.name).status_code == 200


@pytest.mark.parametrize("umask", [0o027])
@pytest.mark.parametrize("mean", [0o777, 0o377], ids=oct)
def test_a_umask_that_takes_rights_from_the_user(alice: User, mean: int) -> None:
    alice.umask = mean
    alice.run("create-project", "p", "--owner", ALICE)
    alice.run("upload", "results", "p/a/1")
    alice.run("fetch", "p/a/1", "--to", "copy")
    assert alice.run("cat", "p/a/1/d/two") == "two\n"
    alice.run("validate", "--all")
    alice.run("cache", "ls")
    alice.umask = 0o022
    alice.shell("test -r copy/d/e/three")
