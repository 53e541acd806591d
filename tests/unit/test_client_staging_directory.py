"""What a user puts into staging is the user's alone, and goes into no trap."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gobbler.client import Client, staging_directory
from gobbler.client.staging_directory import StagingDirectory
from gobbler.client.submit import submit_to_spool
from gobbler.errors import Code, Forbidden
from gobbler.fs import acl
from gobbler.fs.authorship import other_writers
from gobbler.fs.layout import staging_directories

SERVICE, BOB = 54_321, 54_322
"""User IDs of a service, and of somebody who lays traps; neither needs an account."""


@pytest.fixture
def staging(tmp_path: Path) -> Path:
    if os.geteuid() != 0:
        pytest.skip("needs root to give directories away")
    made = tmp_path / "staging"
    made.mkdir()
    made.chmod(0o1733)
    return made


@pytest.fixture(autouse=True)
def _umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def setfacl(path: Path, *words: str) -> None:
    if shutil.which("setfacl") is None:
        pytest.skip("there is no setfacl: install the package acl")
    done = subprocess.run(["setfacl", *words, path], capture_output=True, text=True)
    if "not supported" in done.stderr:
        pytest.skip("the filesystem of the tests keeps no ACLs")
    assert done.returncode == 0, done.stderr


def of_the_service(path: Path) -> StagingDirectory:
    return StagingDirectory(str(path), lambda uid: uid == SERVICE)


def write(staging: StagingDirectory) -> Path:
    with staging.entered() as directory:
        staging.write(directory, "request-x-1", b"{}")
    return Path(staging.path, "request-x-1")


def make_directory(staging: StagingDirectory) -> bool:
    with staging.made_directory("upload-1") as made:
        assert os.fstat(made.descriptor).st_ino == Path(staging.path, "upload-1").stat().st_ino
        return made.has_acl


def refused(staging: StagingDirectory) -> Forbidden:
    """Nothing is put into it."""
    before = sorted(os.listdir(staging.path))
    for put in (write, make_directory):
        with pytest.raises(Forbidden) as caught:
            put(staging)
        assert caught.value.code is Code.UNTRUSTED_STAGING
        assert staging.path in caught.value.reason
    assert sorted(os.listdir(staging.path)) == before
    return caught.value


@pytest.mark.parametrize("owner", [0, SERVICE])
@pytest.mark.parametrize("mode", [0o1733, 0o1777, 0o3777, 0o755])
def test_the_directory_of_root_or_of_the_service(staging: Path, owner: int, mode: int) -> None:
    os.chown(staging, owner, -1)
    staging.chmod(mode)
    made = write(of_the_service(staging))
    assert made.read_bytes() == b"{}"
    assert stat.S_IMODE(made.stat().st_mode) == 0o644
    assert make_directory(of_the_service(staging)) is False
    assert stat.S_IMODE((staging / "upload-1").stat().st_mode) == 0o755


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o1733, 0o755])
def test_the_directory_of_somebody_else_is_a_trap(staging: Path, mode: int) -> None:
    os.chown(staging, BOB, -1)
    staging.chmod(mode)
    assert f"belongs to user ID {BOB}" in refused(of_the_service(staging)).reason


@pytest.mark.parametrize("mode", [0o777, 0o733, 0o775])
def test_a_directory_that_others_can_take_files_out_of(staging: Path, mode: int) -> None:
    os.chown(staging, SERVICE, BOB)
    staging.chmod(mode)
    error = refused(of_the_service(staging))
    assert "no sticky bit" in error.reason
    assert subprocess.run(["sh", "-c", error.hint.partition(": ")[2]]).returncode == 0
    write(of_the_service(staging))


def test_an_acl_lets_others_take_files_out_of_it(staging: Path) -> None:
    os.chown(staging, SERVICE, -1)
    staging.chmod(0o755)
    setfacl(staging, "-m", f"u:{BOB}:rwx")
    assert f"user ID {BOB}" in refused(of_the_service(staging)).reason
    staging.chmod(0o1775)
    write(of_the_service(staging))


@pytest.mark.parametrize(
    "entries",
    [
        "u::rwx,g::rwx,o::rwx",
        f"u:{BOB}:rwx",
        f"u:{SERVICE}:rX",  # the manual of an earlier release: the others got `rwx` with it
        f"u:{BOB}:rwx,g:{BOB}:rwx,g::rwx,o::rwx",
        f"u:{SERVICE}:rwx,g::---,o::---",
        "u::---,g::---,o::---",
    ],
)
@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_a_default_acl_grants_nothing_to_others(staging: Path, entries: str, umask: int) -> None:
    staging.chmod(0o1777)
    setfacl(staging, "-d", "-m", entries)
    os.umask(umask)
    made = write(of_the_service(staging))
    assert stat.S_IMODE(made.stat().st_mode) == 0o644
    assert acl.read(str(made), acl.ACCESS_ACL) is None
    make_directory(of_the_service(staging))
    directory = staging / "upload-1"
    status, found = directory.stat(), acl.read(str(directory), acl.ACCESS_ACL)
    assert list(other_writers(status, found, trusts=lambda uid: uid == SERVICE)) == []
    assert status.st_mode & 0o005 == 0o005
    # Nor does it hand on to what the user makes there, as `cp` and `mkdir` do.
    os.umask(0o022)
    (directory / "sub").mkdir()
    (directory / "sub" / "file").touch()
    for path in directory.rglob("*"):
        found = acl.read(str(path), acl.ACCESS_ACL)
        assert list(other_writers(path.stat(), found, trusts=lambda uid: uid == SERVICE)) == []


def test_what_a_default_acl_grants_to_the_service_stays(staging: Path) -> None:
    staging.chmod(0o1777)
    setfacl(staging, "-d", "-m", f"u:{SERVICE}:rwX,u:{BOB}:rwX")
    assert make_directory(of_the_service(staging)) is True
    (staging / "upload-1" / "sub").mkdir(mode=staging_directory.SERVICE_DIRECTORY_MODE)
    for path in (staging / "upload-1", staging / "upload-1" / "sub"):
        found = acl.read(str(path), acl.ACCESS_ACL)
        assert found is not None
        assert [(e.id, e.permissions) for e in found.named()] == [(SERVICE, 7)]
        assert found.unmasked(acl.GROUP_OBJ) == found.find(acl.OTHER) == 5


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda made: os.fchmod(made, 0o666), "everybody could write"),
        (lambda made: os.fchmod(made, 0o640), "others can't read"),
        (lambda made: os.fchown(made, BOB, BOB), f"belong to user ID {BOB}"),
    ],
)
def test_a_filesystem_that_keeps_no_permissions(
    staging: Path,
    monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[[int], None],
    problem: str,
) -> None:
    monkeypatch.setattr(staging_directory.acl, "remove", lambda made, _: spoil(made))
    assert problem in refused(of_the_service(staging)).reason


class TestSpool:
    @pytest.fixture
    def spool(self, staging: Path) -> Path:
        for path, mode in staging_directories(str(staging)):
            os.mkdir(path)
            os.chmod(path, mode)
            os.chown(path, SERVICE, -1)
        return staging / "..spool"

    def test_it_belongs_to_the_service(self, staging: Path, spool: Path) -> None:
        submit_to_spool(of_the_service(staging), "health_check", {})
        (made,) = (spool / "new").iterdir()
        assert stat.S_IMODE(made.stat().st_mode) == 0o644

    @pytest.mark.parametrize("which", [".", "tmp", "new"])
    def test_one_that_somebody_else_has_made_is_a_trap(
        self, staging: Path, spool: Path, which: str
    ) -> None:
        os.chown(spool / which, BOB, -1)
        with pytest.raises(Forbidden) as caught:
            submit_to_spool(of_the_service(staging), "health_check", {})
        assert caught.value.code is Code.UNTRUSTED_STAGING
        assert list((spool / "tmp").iterdir()) == list((spool / "new").iterdir()) == []

    def test_a_link_is_no_spool(self, staging: Path, spool: Path, tmp_path: Path) -> None:
        spool.rename(tmp_path / "elsewhere")
        spool.symlink_to(tmp_path / "elsewhere")
        with pytest.raises(FileNotFoundError, match="has no spool"):
            submit_to_spool(of_the_service(staging), "health_check", {})


class TestWhoIsTheService:
    """As a client concludes it from what it was told, by the user or by whoever answers."""

    @pytest.fixture
    def registry(self, tmp_path: Path, staging: Path) -> Path:
        made = tmp_path / "registry"
        (made / "..logs").mkdir(parents=True)
        for path in (made, made / "..logs", staging):
            os.chown(path, SERVICE, -1)
        return made

    def reports(self, web, **directories: Path) -> None:
        told = {name: str(path) for name, path in directories.items()}
        web.put("/info", json.dumps(told))

    def is_trusted(self, client: Client) -> bool:
        code = None
        try:
            write(client.connection.staging_directory).unlink()
        except Forbidden as error:
            code = error.code
        assert list(Path(client.staging).iterdir()) == []
        return code is not Code.UNTRUSTED_STAGING

    def test_a_service_as_it_should_be(self, web, staging: Path, registry: Path) -> None:
        self.reports(web, staging=staging, registry=registry)
        assert self.is_trusted(Client(web.url))
        assert self.is_trusted(Client(web.url, staging=staging))
        assert self.is_trusted(Client(web.url, registry=registry))

    def test_a_trap_beside_a_real_registry(
        self, web, staging: Path, registry: Path, tmp_path: Path
    ) -> None:
        os.chown(staging, BOB, -1)
        self.reports(web, staging=staging, registry=registry)
        assert not self.is_trusted(Client(web.url))
        assert not self.is_trusted(Client(web.url, staging=staging))
        assert not self.is_trusted(Client(web.url, staging=staging, registry=registry))

    def test_a_trap_with_a_registry_of_the_same_account(
        self, web, staging: Path, registry: Path
    ) -> None:
        os.rmdir(registry / "..logs")
        os.chown(staging, BOB, -1)
        os.chown(registry, BOB, -1)
        self.reports(web, staging=staging, registry=registry)
        assert not self.is_trusted(Client(web.url))
        # The logs of a service of another account don't help.
        (registry / "..logs").symlink_to(staging.parent)
        assert not self.is_trusted(Client(web.url))

    def test_a_trap_with_a_registry_that_is_not_here(self, web, staging: Path) -> None:
        os.chown(staging, BOB, -1)
        self.reports(web, staging=staging, registry=Path("/no/where"))
        assert not self.is_trusted(Client(web.url))

    def test_the_registry_that_the_user_names_counts_more_than_the_one_of_the_service(
        self, web, staging: Path, registry: Path, tmp_path: Path
    ) -> None:
        mine = tmp_path / "mine"
        mine.mkdir()
        self.reports(web, staging=staging, registry=registry)
        assert not self.is_trusted(Client(web.url, registry=mine))
        os.chown(mine, SERVICE, -1)
        assert self.is_trusted(Client(web.url, registry=mine))

    def test_staging_is_here_but_the_registry_is_not(self, web, staging: Path) -> None:
        os.chown(staging, SERVICE, -1)
        self.reports(web, staging=Path("/no"), registry=Path("/no/where"))
        assert self.is_trusted(Client(web.url, staging=staging)), "the user vouches for it"
        assert self.is_trusted(Client(staging=staging))

    def test_a_directory_of_ones_own(self, web, staging: Path, registry: Path) -> None:
        os.chown(staging, os.geteuid(), -1)
        self.reports(web, staging=staging, registry=Path("/no/where"))
        assert self.is_trusted(Client(web.url))


def test_accounts_of_a_container_have_no_names(
    staging: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hidden = int(Path("/proc/sys/kernel/overflowuid").read_text())
    os.chown(staging, hidden, -1)
    assert pwd.getpwuid(hidden).pw_name in refused(of_the_service(staging)).reason
    script = (
        "from gobbler.client.staging_directory import StagingDirectory as S\n"
        f"at = S({str(staging)!r}, lambda uid: False)\n"
        "with at.entered() as opened:\n"
        "    print('trusted')\n"
    )

    os.chown(staging, SERVICE, -1)
    done = subprocess.run(
        ["unshare", "--user", "--map-current-user", sys.executable, "-c", script],
        capture_output=True,
        text=True,
    )
    if "unshare" in done.stderr:
        pytest.skip("no user namespaces here")
    assert done.stdout == "trusted\n", done.stderr
