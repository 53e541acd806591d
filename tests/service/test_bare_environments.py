"""Commands without a home, an account, variables or a cache: nothing depends on these."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gobbler.client import Client
from gobbler.client.testing import TestService

from .commands import TOP, forked

NOBODY = 54321
"""A user ID without an account."""

Result = subprocess.CompletedProcess[str]


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that every account can reach."""
    with tempfile.TemporaryDirectory(prefix="gobbler-bare-") as path:
        os.chmod(path, 0o1777)
        yield Path(path)


@pytest.fixture
def published(client: Client, project: str, place: Path) -> str:
    source = place / "source"
    source.mkdir()
    (source / "x").write_text("content of x")
    source.chmod(0o755)
    client.upload(project, "a", "1", source)
    return f"{project}/a/1"


AS_USER = """
import os, sys
from tests.service.commands import _load
_load()
from gobbler.cli import main
uid = int(sys.argv.pop(1))
if uid:
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)
main()
"""


def bare_environment(environment: dict[str, str]) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHONSAFEPATH": "1", **environment}


def started(*words: object, uid: int = 0, **environment: str) -> Result:
    """Run a command with this environment and no other variables; also load it so."""
    return subprocess.run(
        [sys.executable, "-c", AS_USER, str(uid), *map(str, words)],
        env={**bare_environment(environment), "PYTHONPATH": str(TOP)},
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def gobbler(*words: object, uid: int = 0, **environment: str) -> Result:
    """Run a command with this environment and no other variables."""
    user = (uid, uid) if uid else None
    return forked().run(words, environment=bare_environment(environment), user=user)


def without_account(service: TestService, place: Path) -> dict[str, object]:
    del service, place
    return {"uid": NOBODY}


def no_home(service: TestService, place: Path) -> dict[str, object]:
    del service
    return {"HOME": str(place / "nowhere" / "at all"), "uid": NOBODY}


def roots_home(service: TestService, place: Path) -> dict[str, object]:
    """``$HOME`` of root, as after ``setpriv``, with a configuration that nobody else may read."""
    del service
    config = place / "root" / ".config" / "gobbler"
    config.mkdir(parents=True)
    (config / "config.toml").write_text("no TOML")
    (place / "root").chmod(0o700)
    return {"HOME": str(place / "root"), "uid": NOBODY}


def read_only_home(service: TestService, place: Path) -> dict[str, object]:
    del service
    (place / "home").mkdir(0o555)
    return {"HOME": str(place / "home"), "uid": NOBODY}


def files_for_directories(service: TestService, place: Path) -> dict[str, object]:
    del service
    (place / "file").write_text("")
    names = ("CONFIG", "DATA", "STATE", "CACHE")
    return {f"XDG_{name}_HOME": str(place / "file") for name in names} | {
        "HOME": str(place / "file"),
        "XDG_CONFIG_DIRS": str(place / "file"),
    }


def no_temporary_directory(service: TestService, place: Path) -> dict[str, object]:
    del service
    (place / "home").mkdir(0o755)
    return {"HOME": str(place / "home"), "TMPDIR": "/nowhere/at/all"}


def variables_in_the_configuration(service: TestService, place: Path) -> dict[str, object]:
    """A configuration with ``$USER`` and others that are not set here."""
    (place / "config.toml").write_text(
        f'cache = "{place}/cache-of-$USER"\n[service.lab]\nurl = "{service.url}"\n'
        'staging = "/$SCRATCH_OF_THE_SITE/staging"\n'
    )
    return {"GOBBLER_CONFIG": str(place / "config.toml"), "uid": NOBODY}


BARE = [
    without_account,
    no_home,
    roots_home,
    read_only_home,
    files_for_directories,
    no_temporary_directory,
    variables_in_the_configuration,
]


def remove_replacement(environment: dict[str, object]) -> None:
    """Remove the directory that stands for a missing home."""
    shutil.rmtree(f"{tempfile.gettempdir()}/gobbler-{environment.get('uid', 0)}", True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act without an account")
@pytest.mark.parametrize("bare", BARE, ids=lambda each: each.__name__)
def test_reading_works(service: TestService, published: str, place: Path, bare: object) -> None:
    environment = bare(service, place)  # type: ignore[operator]
    remove_replacement(environment)  # a test that was killed left it
    url = ("--url", service.url)
    project, asset, _ = published.split("/")
    for words in [
        ("config", "show"),
        ("config", "show", "--json"),
        ("info", *url),
        ("ls", *url),
        ("ls", project, *url, "--remote"),
        ("show", published, *url, "--remote"),
        ("show", project, *url, "--remote"),
        ("tree", published, *url, "--remote"),
        ("diff", published, published, *url, "--remote"),
        ("usage", *url),
        ("permissions", "get", project, *url, "--remote"),
        ("probation", "list", *url, "--remote"),
        ("fetch", published, *url),
        ("fetch", published, *url, "--remote"),
        ("fetch", f"{published}/x", *url, "--remote", "--to", place / "copy"),
        ("cat", f"{project}/{asset}/@latest/x", *url, "--remote"),
        ("cache", "ls"),
        ("cache", "verify"),
        ("cache", "prune", "--dry-run"),
        ("completion", "bash"),
        ("--help",),
    ]:
        start = started if words == ("info", *url) else gobbler
        done = start(*words, **environment)
        assert (done.returncode, "Traceback" in done.stderr) == (0, False), (words, done)
        # What is not there is told once.
        warnings = [line for line in done.stderr.splitlines() if line.startswith("warning: ")]
        assert done.stderr.splitlines() == warnings
        assert len(set(warnings)) == len(warnings)
        if words[0] == "cat":
            assert done.stdout == "content of x"
        if words[0] == "fetch":
            assert Path(done.stdout.strip()).exists()
    assert (place / "copy").read_text() == "content of x"
    remove_replacement(environment)
    assert not [path for path in Path("/").iterdir() if path.name.startswith("~")]


def fill(path: Path) -> None:
    """Write to ``path`` until its filesystem is full."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    with contextlib.suppress(OSError):
        while True:
            os.write(descriptor, bytes(4096))
    os.close(descriptor)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
@pytest.mark.parametrize("where", ["home", "chosen"])
def test_a_full_cache_fails_no_upload_and_no_record(
    service: TestService, client: Client, published: str, place: Path, where: str
) -> None:
    full = place / "full"
    full.mkdir()
    options = ("-o", "size=64k")
    if subprocess.run(["mount", "-t", "tmpfs", *options, "x", full], check=False).returncode:
        pytest.skip("can't mount here")
    try:
        fill(full / "filler")
        given = {"XDG_DATA_HOME" if where == "home" else "GOBBLER_CACHE": str(full)}
        environment = {"HOME": "/dev/null/nowhere", "GOBBLER_URL": service.url, **given}
        project = published.partition("/")[0]
        hidden = {"GOBBLER_REGISTRY": "/not/mounted/here"}
        done = gobbler("upload", place / "source", f"{project}/b/1", **environment, **hidden)
        assert (done.returncode, done.stdout.startswith("published ")) == (0, True), done
        assert "1 file, 12 bytes" in done.stdout
        assert client.asset(project, "b").latest() is not None
        done = gobbler("show", published, "--remote", "--json", **environment)
        assert (done.returncode, json.loads(done.stdout)["stored"]["files"]) == (0, 1), done
        assert done.stderr.count("warning: ") == 1
        done = gobbler("fetch", published, "--remote", **environment)
        if where == "home":
            assert (done.returncode, done.stderr.count("warning: ")) == (0, 1), done
            shutil.rmtree(Path(tempfile.gettempdir(), "gobbler-0"))
        else:
            assert (done.returncode, "no space left" in done.stderr) == (1, True)
    finally:
        subprocess.run(["umount", full], check=True)


REFUSING = """
import errno, os, sys
def refuse(*_, **__):
    raise OSError(getattr(errno, {error!r}), "refused")
modes = ("chmod", "fchmod", "lchmod", "chown", "setxattr")
for name in ("utime", "fsync", "fdatasync", *(modes if "upload" not in sys.argv else ())):
    if hasattr(os, name):
        setattr(os, name, refuse)
import gobbler.fs.flush as flush
flush._libc = type("libc", (), {{"syncfs": staticmethod(lambda _: -1)}})
flush.ctypes.get_errno = lambda: getattr(errno, {error!r})
from gobbler.cli import main
main()
"""


@pytest.mark.parametrize("error", ["EPERM", "ENOTSUP", "EINVAL"])
def test_a_filesystem_that_refuses_modes_times_and_flushes(
    service: TestService, client: Client, published: str, place: Path, error: str
) -> None:
    source = place / "more"
    (source / "sub").mkdir(parents=True)
    (place / "config.toml").touch()
    for name in ("a", "b", "sub/c"):
        (source / name).write_bytes(name.encode() * 1000)
    (source / "large").write_bytes(bytes(5_000_000))
    project = published.partition("/")[0]
    client.upload(project, "more", "1", source)
    address = f"{project}/more/1"
    for words in [
        ("fetch", address, "--remote", "--cache", place / "cache"),
        ("fetch", f"{address}/large", "--remote", "--cache", place / "cache2"),
        ("fetch", address, "--remote", "--cache", place / "cache3", "--to", place / "to"),
        ("upload", source, f"{project}/more/2"),
        ("config", "set", "service.lab.url", service.url),
    ]:
        done = subprocess.run(
            [sys.executable, "-c", REFUSING.format(error=error), *map(str, words)],
            env=os.environ
            | {"GOBBLER_URL": service.url, "GOBBLER_CONFIG": str(place / "config.toml")},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, (words, done.stderr)
        lines = done.stderr.splitlines()
        assert all(line.startswith("warning: ") for line in lines)
        assert len(set(lines)) == len(lines)
    assert (place / "to" / "sub" / "c").read_bytes() == b"sub/c" * 1000
