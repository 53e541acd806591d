"""Who wrote a request, not only who owns it: whoever else can write the file could be the author.

Real accounts and real ACLs: in every case a hostile user really can change the file.
"""

from __future__ import annotations

import grp
import json
import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .accounts import ALICE, BOB
from .service import Service, refused, successful

pytestmark = [pytest.mark.beyond, pytest.mark.usefixtures("accounts")]

CODE = "writable-by-others"


def setfacl(path: Path, *words: str) -> None:
    if shutil.which("setfacl") is None:
        pytest.skip("there is no setfacl: install the package acl")
    done = subprocess.run(["setfacl", *words, path], capture_output=True, text=True)
    if "not supported" in done.stderr:
        pytest.skip("the filesystem of the tests keeps no ACLs")
    assert done.returncode == 0, done.stderr


def spoil(path: Path, how: str) -> None:
    """Let others write a file of ALICE's."""
    kind, _, what = how.partition(" ")
    if kind == "mode":
        path.chmod(int(what, 8))
    elif kind == "group":
        os.chown(path, -1, grp.getgrnam(what).gr_gid)
        path.chmod(0o664 if path.is_file() else 0o775)
    else:
        setfacl(path, "-m", what)


def can_write(user: str, path: Path) -> bool:
    """Whether an account with no groups but its own, and ``users``, can write a file."""
    return writable_by(user, [path]) == [path]


WRITABLE = 'for name; do if test -w "$name"; then printf "%s\\0" "$name"; fi; done'


def writable_by(user: str, paths: list[Path]) -> list[Path]:
    """Those of the ``paths`` that ``user`` can write."""
    account = pwd.getpwnam(user)
    groups = [grp.getgrnam("users").gr_gid]
    # The way there is closed to others, as pytest makes it; the service's directories are not.
    options = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": groups}
    beside: dict[Path, list[str]] = {}
    for path in paths:
        beside.setdefault(path.parent, []).append(path.name)
    found = []
    for parent, names in beside.items():
        command = ["sh", "-c", WRITABLE, "sh", *names]
        said = subprocess.check_output(command, cwd=parent, text=True, **options)
        found += [parent / name for name in said.split("\0")[:-1]]
    return found


WAYS = [
    "mode 0666",
    "mode 0646",
    "group users",
    f"group {BOB}",
    f"acl u:{BOB}:rw",
    f"acl g:{BOB}:rw",
    "acl g:users:rw",
    f"acl u:{BOB}:rw,u:{ALICE}:r,m::rw",
    "acl o::rw",
]


@pytest.mark.parametrize("how", WAYS)
def test_a_request_that_others_can_write_is_nobodys(service: Service, how: str) -> None:
    name = service.write_request("health_check", {}, ALICE)
    path = service.staging / name
    spoil(path, how)
    assert can_write(BOB, path)
    for _ in range(2):  # it has not begun
        response = service.post(name)
        reason = refused(response, name, "chmod go-w", str(path), status=400)
        assert "its owner may not be its author" in reason
        assert response.json()["code"] == CODE
    subprocess.run(["chmod", "go-w", path], check=True)
    assert not can_write(BOB, path)
    successful(service.post(name))
    path.unlink()


@pytest.mark.parametrize("how", WAYS)
def test_nor_may_others_write_what_is_published(service: Service, how: str) -> None:
    project = service.new_project(owners=[ALICE])
    payload = service.upload_of(f"{project}/a/1", {"f": b"x", "d/g": b"y"}, ALICE)
    source = service.staging / payload["source"]
    spoil(source, how.replace("0666", "0777").replace("0646", "0757").replace(":rw", ":rwx"))
    assert can_write(BOB, source)
    response = service.submit("upload", payload, ALICE)
    refused(response, payload["source"], f"chmod go-w {source}", status=400)
    assert response.json()["code"] == CODE
    assert not (service.registry / project / "a").exists()
    subprocess.run(["chmod", "go-w", source], check=True)
    service.succeed("upload", payload, ALICE)


@pytest.mark.parametrize(
    "how",
    [
        "mode 0644",
        "mode 0600",
        f"group {ALICE}",  # 0664: a umask of 002, and a private group
        f"acl u:{BOB}:r",
        f"acl u:{BOB}:rw,m::r",
        f"acl u:{ALICE}:rw,g:{ALICE}:rw",
        "acl u:root:rw",
    ],
)
def test_what_nobody_else_can_write_is_its_owners(service: Service, how: str) -> None:
    name = service.write_request("health_check", {}, ALICE)
    path = service.staging / name
    os.chown(path, -1, pwd.getpwnam(ALICE).pw_gid)
    spoil(path, how)
    assert not can_write(BOB, path)
    successful(service.post(name))
    path.unlink()


@pytest.fixture
def open_staging(service: Service) -> Iterator[Path]:
    """Staging with a default ACL like the one that a manual of ours recommended."""
    mode = service.staging.stat().st_mode
    service.staging.chmod(0o1777)
    setfacl(service.staging, "-m", "d:u:root:rX,u:root:rX")
    yield service.staging
    setfacl(service.staging, "-b", "-k")
    service.staging.chmod(mode & 0o7777)


def as_user(user: str, command: str, where: Path) -> None:
    account = pwd.getpwnam(user)
    options = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    subprocess.run(["sh", "-c", f"umask 022; {command}"], cwd=where, check=True, **options)


def test_a_default_acl_makes_nobody_an_administrator(service: Service, open_staging: Path) -> None:
    project, name = service.unique(), f"request-create_project-{service.unique()}"
    (open_staging / name).touch()
    (open_staging / name).unlink()
    # An administrator writes a request as clients in other languages do...
    descriptor = os.open(open_staging / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    os.write(descriptor, json.dumps({"project": f"{project}-mine"}).encode())
    os.close(descriptor)
    # ... and another user, who finds that it can be written, writes something else.
    as_user(BOB, f'echo \'{{"project": "{project}-theirs"}}\' >{name}', open_staging)
    refused(service.post(name), name, status=400)
    # Moved under another name it is no better; only its owner can do so here.
    (open_staging / name).rename(open_staging / f"{name}-2")
    refused(service.post(f"{name}-2"), status=400)
    assert not list(service.registry.glob(f"{project}*"))
    (open_staging / f"{name}-2").unlink()


def test_a_file_that_may_be_written_is_moved_into_staging(
    service: Service, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A file of an administrator in a directory that everybody can write, without sticky bit."""
    shared = service.staging / f"{service.unique()}-shared"
    shared.mkdir()
    shared.chmod(0o777)
    project, name = service.unique(), f"request-create_project-{service.unique()}"
    (shared / "notes.txt").write_text("{}")
    (shared / "notes.txt").chmod(0o666)
    text = f'{{\\"project\\": \\"{project}\\"}}'
    as_user(BOB, f'echo "{text}" >notes.txt; mv notes.txt ../{name}', shared)
    assert (service.staging / name).stat().st_uid == os.getuid()
    refused(service.post(name), name, status=400)
    assert not (service.registry / project).exists()


def test_the_spool_refuses_the_same(service: Service) -> None:
    spool = service.staging / "..spool"
    for how in ("mode 0666", f"acl u:{BOB}:rw", "group users"):
        name = f"request-health_check-{service.unique()}"
        path = spool / "tmp" / name
        path.write_text("{}")
        account = pwd.getpwnam(ALICE)
        os.chown(path, account.pw_uid, account.pw_gid)
        spoil(path, how)
        path.rename(spool / "new" / name)
        job = f"{account.pw_uid}-{name}"
        state = ended(service, job)
        assert state["state"] == "failed"
        assert state["answer"]["code"] == CODE


def ended(service: Service, job: str) -> dict[str, object]:

    deadline = time.monotonic() + 60
    while True:
        state = service.get(f"/jobs/{job}").json()
        if state.get("state") in ("done", "failed", "cancelled"):
            return dict(state)
        assert time.monotonic() < deadline, state
        time.sleep(0.05)


def test_what_the_service_makes_in_staging_inherits_nothing(
    service: Service, open_staging: Path
) -> None:
    name = service.write_request("health_check", {})
    (open_staging / name).chmod(0o644)
    successful(service.post(name))
    own = []
    for path in (open_staging / "..requests", open_staging / "..spool"):
        for each in (path, *path.rglob("*")):
            try:
                if each.lstat().st_uid != path.stat().st_uid:
                    continue  # what users put there
            except FileNotFoundError:
                continue  # the service has just removed it
            if each.name in ("tmp", "new") and each.parent.name == "..spool":
                continue  # everybody adds requests there
            own.append(each)
    assert own
    assert writable_by(BOB, own) == []
