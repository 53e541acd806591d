"""Who else can write a file: modes, ACLs and groups on a real filesystem, with real accounts."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gobbler.errors import Code, Refused
from gobbler.fs import accounts, authorship
from gobbler.fs.acl import Acl, AclEntry, with_users
from gobbler.fs.authorship import Authorship, is_private_group

ALICE, BOB = "gtalice", "gtbob"

USERADD = (
    *("flock", f"{tempfile.gettempdir()}/gobbler-tests-useradd", "sh", "-c"),
    'id "$0" || useradd --no-create-home --shell /usr/sbin/nologin "$0"',
)


def account(name: str) -> pwd.struct_passwd:
    if os.geteuid() != 0 or shutil.which("useradd") is None:
        pytest.skip("needs several accounts, which only root can make")
    subprocess.run([*USERADD, name], check=True, capture_output=True)
    return pwd.getpwnam(name)


@pytest.fixture(autouse=True)
def _nothing_remembered() -> Iterator[None]:
    authorship._is_private.cache_clear()
    yield
    authorship._is_private.cache_clear()


@pytest.fixture(params=["file", "directory"])
def of_alice(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A file or directory of an account that has a private group."""
    alice = account(ALICE)
    account(BOB)
    path = tmp_path / "it"
    path.mkdir() if request.param == "directory" else path.touch()
    os.chown(path, alice.pw_uid, alice.pw_gid)
    path.chmod(0o755 if request.param == "directory" else 0o644)
    return path


def check(path: Path, rule: Authorship | None = None) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        (rule or Authorship()).check(descriptor, os.fstat(descriptor), "thing", str(path))
    finally:
        os.close(descriptor)


def reason(path: Path, rule: Authorship | None = None) -> Refused:
    with pytest.raises(Refused) as caught:
        check(path, rule)
    assert caught.value.code is Code.WRITABLE_BY_OTHERS
    assert caught.value.status == 400
    assert '"it"' in caught.value.reason
    assert str(path) in caught.value.hint
    return caught.value


def setfacl(path: Path, *words: str) -> None:
    if shutil.which("setfacl") is None:
        pytest.skip("there is no setfacl: install the package acl")
    done = subprocess.run(["setfacl", *words, path], capture_output=True, text=True)
    if "not supported" in done.stderr:
        pytest.skip("the filesystem of the tests keeps no ACLs")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o755, 0o664, 0o775, 0o1755, 0o2775])
def test_what_only_its_owner_can_write_is_the_owners_work(of_alice: Path, mode: int) -> None:
    of_alice.chmod(mode)
    check(of_alice)


@pytest.mark.parametrize("mode", [0o666, 0o602, 0o777, 0o646, 0o1777, 0o733])
def test_what_everybody_can_write_is_nobodys_work(of_alice: Path, mode: int) -> None:
    of_alice.chmod(mode)
    assert f"everybody (mode {mode:04o})" in reason(of_alice).reason
    assert "everybody" in reason(of_alice, Authorship(trust_groups=True)).reason


@pytest.mark.parametrize("mode", [0o664, 0o620, 0o770, 0o2775])
@pytest.mark.parametrize("group", [BOB, "users", 54_321])
def test_a_group_of_others_is_refused_unless_groups_are_trusted(
    of_alice: Path, mode: int, group: str | int
) -> None:
    gid = group if isinstance(group, int) else grp.getgrnam(group).gr_gid
    os.chown(of_alice, -1, gid)
    of_alice.chmod(mode)
    assert f"the group {authorship.group_name(gid)}" in reason(of_alice).reason
    check(of_alice, Authorship(trust_groups=True))


@pytest.mark.parametrize(
    ("entries", "whom"),
    [
        (f"u:{BOB}:rw", f"the user {BOB}"),
        (f"u:{BOB}:w", f"the user {BOB}"),
        ("u:54321:rwx", "the user ID 54321"),
        (f"g:{BOB}:rw", f"the group {BOB}"),
        ("g:users:rw", "the group users"),
        ("g:54321:w", "the group ID 54321"),
        (f"u:{BOB}:rw,g:users:rw", f"the user {BOB} and the group users"),
        ("u:root:rw,o::rw", "everybody"),
    ],
)
def test_an_acl_that_lets_others_write_is_refused(of_alice: Path, entries: str, whom: str) -> None:
    setfacl(of_alice, "-m", entries)
    assert f"written by {whom}" in reason(of_alice).reason
    refused = reason(of_alice)
    command = refused.hint[refused.hint.index("chmod go-w") :].split(" before")[0]
    assert subprocess.run(["sh", "-c", command]).returncode == 0
    check(of_alice)


@pytest.mark.parametrize(
    "entries",
    [
        f"u:{BOB}:r",
        f"u:{BOB}:rw,g:users:rw,m::r",
        f"u:{BOB}:rw,m::r",
        f"u:{ALICE}:rw",
        f"g:{ALICE}:rw",
        "u:root:rw",
        "g::rw,u:root:rw",  # its own private group
    ],
)
def test_an_acl_that_lets_nobody_else_write_does_no_harm(of_alice: Path, entries: str) -> None:
    setfacl(of_alice, "-m", entries)
    check(of_alice)


def test_groups_of_an_acl_are_trusted_too_but_no_users(of_alice: Path) -> None:
    setfacl(of_alice, "-m", "g:users:rw")
    check(of_alice, Authorship(trust_groups=True))
    setfacl(of_alice, "-m", f"u:{BOB}:rw")
    assert reason(of_alice, Authorship(trust_groups=True)).reason.count("group") == 0


def test_the_group_of_an_acl_counts_as_far_as_the_mask_leaves_it(of_alice: Path) -> None:
    os.chown(of_alice, -1, grp.getgrnam("users").gr_gid)
    setfacl(of_alice, "-m", "g::rw,u:root:rw,m::r")
    check(of_alice)
    setfacl(of_alice, "-m", "m::rw")
    assert "the group users" in reason(of_alice).reason
    setfacl(of_alice, "-m", "g::r")
    check(of_alice)


def test_the_service_itself_may_write(of_alice: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    setfacl(of_alice, "-m", f"u:{BOB}:rwx")
    uid = account(BOB).pw_uid
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    check(of_alice)


def test_a_default_acl_of_a_source_grants_nothing_in_itself(tmp_path: Path) -> None:
    alice = account(ALICE)
    (tmp_path / "it").mkdir(mode=0o755)
    os.chown(tmp_path / "it", alice.pw_uid, alice.pw_gid)
    setfacl(tmp_path / "it", "-d", "-m", "o::rwx")
    check(tmp_path / "it")


def test_an_acl_of_another_kind_is_refused(of_alice: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ValueError

    monkeypatch.setattr(authorship, "read", fail)
    assert "an ACL that the service can't read" in reason(of_alice).reason


class TestPrivateGroups:
    def test_the_group_of_a_user_alone(self) -> None:
        alice = account(ALICE)
        assert is_private_group(alice.pw_gid, alice.pw_uid)
        assert not is_private_group(account(BOB).pw_gid, alice.pw_uid)
        assert not is_private_group(54_321, alice.pw_uid)
        assert not is_private_group(alice.pw_gid, 54_321)

    def test_a_group_with_another_member(self, monkeypatch: pytest.MonkeyPatch) -> None:
        alice = account(ALICE)
        group = grp.struct_group((ALICE, "x", alice.pw_gid, [ALICE, BOB]))
        monkeypatch.setattr(grp, "getgrgid", lambda _: group)
        assert not is_private_group(alice.pw_gid, alice.pw_uid)

    def test_a_group_that_another_account_has_as_its_own(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        alice, bob = account(ALICE), account(BOB)
        other = pwd.struct_passwd((BOB, "x", bob.pw_uid, alice.pw_gid, "", "/", ""))
        monkeypatch.setattr(pwd, "getpwall", lambda: [alice, other])
        assert not is_private_group(alice.pw_gid, alice.pw_uid)

    def test_a_common_primary_group_lists_no_members(self, monkeypatch: pytest.MonkeyPatch) -> None:
        users = grp.getgrnam("users").gr_gid
        alice = pwd.struct_passwd((ALICE, "x", 54_000, users, "", "/", ""))
        monkeypatch.setattr(pwd, "getpwuid", lambda _: alice)
        monkeypatch.setattr(pwd, "getpwall", lambda: [alice])
        assert not is_private_group(users, 54_000)

    def test_it_is_looked_up_once_a_minute(self, monkeypatch: pytest.MonkeyPatch) -> None:
        alice = account(ALICE)
        times = [100.0]
        monkeypatch.setattr(accounts.time, "monotonic", lambda: times[0])
        assert is_private_group(alice.pw_gid, alice.pw_uid)
        group = grp.struct_group((ALICE, "x", alice.pw_gid, [BOB]))
        monkeypatch.setattr(grp, "getgrgid", lambda _: group)
        assert is_private_group(alice.pw_gid, alice.pw_uid)
        times[0] += accounts.REMEMBERED_SECONDS
        assert not is_private_group(alice.pw_gid, alice.pw_uid)

    def test_it_is_looked_up_again_when_an_account_is_added(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        alice, groups = account(ALICE), tmp_path / "group"
        groups.write_text("")
        monkeypatch.setattr(accounts, "ACCOUNT_FILES", (str(tmp_path / "no"), str(groups)))
        assert is_private_group(alice.pw_gid, alice.pw_uid)
        group = grp.struct_group((ALICE, "x", alice.pw_gid, [BOB]))
        monkeypatch.setattr(grp, "getgrgid", lambda _: group)
        groups.write_text(f"{ALICE}:x:1:{BOB}\n")
        assert not is_private_group(alice.pw_gid, alice.pw_uid)


def test_an_acl_survives_the_way_to_bytes_and_back(tmp_path: Path) -> None:
    made = with_users(0o755, [AclEntry(authorship.USER, 7, 4_000_000_000)])
    os.mkdir(tmp_path / "d")
    try:
        os.setxattr(tmp_path / "d", "system.posix_acl_access", made.packed())
    except OSError:
        pytest.skip("the filesystem of the tests keeps no ACLs")
    found = authorship.read(str(tmp_path / "d"), "system.posix_acl_access")
    assert found == made
    assert isinstance(found, Acl)
    assert stat.S_IMODE((tmp_path / "d").stat().st_mode) == 0o775, "the mask"
