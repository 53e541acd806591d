"""The messages of a service that can't start with its settings (protocol, section 8)."""

from __future__ import annotations

import getpass
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from gobbler.fs.layout import staging_directories
from gobbler.service.settings import (
    Misconfigured,
    Settings,
    check_directories,
    default_settings,
    read_spoofing,
    read_whitelist,
)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings with good directories."""
    (tmp_path / "staging").mkdir()
    (tmp_path / "staging").chmod(0o1733)
    (tmp_path / "registry").mkdir(mode=0o755)
    return Settings(str(tmp_path / "staging"), str(tmp_path / "registry"), frozenset())


def test_the_services_own_directories_are_made(settings: Settings) -> None:
    for _ in range(2):  # and found the second time
        check_directories(settings)
        assert os.stat(f"{settings.registry}/..logs").st_mode & 0o7777 == 0o755
        assert os.stat(f"{settings.registry}/..incoming").st_mode & 0o7777 == 0o700
        assert os.stat(settings.replay_guard).st_mode & 0o7777 == 0o700


@pytest.mark.parametrize("existing", [False, True])
def test_a_default_acl_of_staging_does_not_reach_them(settings: Settings, existing: bool) -> None:
    own = staging_directories(settings.staging)
    entries = "d:u:nobody:rwx,d:g::rwx,d:o::rwx"
    try:
        done = subprocess.run(["setfacl", "-m", entries, settings.staging], capture_output=True)
    except FileNotFoundError:
        pytest.skip("there is no setfacl: install the package acl")
    if done.returncode:
        pytest.skip("the filesystem of the tests keeps no ACLs")
    if existing:  # those of a release that left them as they were made
        for path, mode in own:
            os.mkdir(path)
            os.chmod(path, mode)
            assert os.listxattr(path)
    check_directories(settings)
    for path, mode in own:
        assert os.stat(path).st_mode & 0o7777 == mode
        assert not [name for name in os.listxattr(path) if "acl" in name], path
    Path(f"{settings.staging}/..spool/tmp/file").touch()
    assert os.stat(f"{settings.staging}/..spool/tmp/file").st_mode & 0o022 == 0


def _absent(path: Path) -> None:
    path.rmdir()


def _file(path: Path) -> None:
    path.rmdir()
    path.write_text("")


@pytest.mark.parametrize("which", ["staging", "registry"])
@pytest.mark.parametrize(
    ("spoil", "problem"), [(_absent, "does not exist"), (_file, "is not a directory")]
)
def test_a_directory_that_is_not_there_is_named(
    settings: Settings, which: str, spoil: Callable[[Path], None], problem: str
) -> None:
    path = Path(getattr(settings, which))
    spoil(path)
    with pytest.raises(Misconfigured) as caught:
        check_directories(settings)
    assert which in caught.value.reason
    assert str(path) in caught.value.reason
    assert problem in caught.value.reason


def test_the_hint_for_a_missing_directory_is_the_command_that_makes_it(settings: Settings) -> None:
    os.rmdir(settings.staging)
    with pytest.raises(Misconfigured) as caught:
        check_directories(settings)
    assert f"mkdir -m 1733 {settings.staging}" in caught.value.hint


def test_a_registry_that_everybody_can_write_is_refused(settings: Settings) -> None:
    os.chmod(settings.registry, 0o1777)
    with pytest.raises(Misconfigured, match="writable by everybody") as caught:
        check_directories(settings)
    assert "chmod o-w" in caught.value.hint


@pytest.mark.parametrize("inner", ["staging", "registry"])
def test_staging_and_registry_must_not_overlap(tmp_path: Path, inner: str) -> None:
    (tmp_path / "outer/inner").mkdir(parents=True)
    outer, inside = str(tmp_path / "outer"), str(tmp_path / "outer/inner")
    pair = (inside, outer) if inner == "staging" else (outer, inside)
    for staging, registry in (pair, (outer, outer)):
        with pytest.raises(Misconfigured, match="overlap"):
            check_directories(Settings(staging, registry, frozenset()))


@pytest.mark.parametrize("inside", ["registry/..logs", "registry/..incoming", "staging/..requests"])
@pytest.mark.parametrize("what", ["link", "file", "of another account"])
def test_what_somebody_else_put_in_place_of_its_own_directories_is_refused(
    settings: Settings, tmp_path: Path, inside: str, what: str
) -> None:
    place = tmp_path / inside
    if what == "link":
        place.symlink_to(tmp_path)
    elif what == "file":
        place.write_text("")
    elif os.geteuid() == 0:
        place.mkdir()
        os.chown(place, 54_321, -1)
    else:
        pytest.skip("only root can give a directory away")
    with pytest.raises(Misconfigured, match="not a directory of the service's own account"):
        check_directories(settings)


def test_a_whitelist_holds_absolute_directories_as_given_and_resolved(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "list").write_text(f"\n  {tmp_path}/link/ \n{tmp_path}/real\n{tmp_path}/a/../b\n\n")
    assert read_whitelist(str(tmp_path / "list")) == tuple(
        str(tmp_path / name) for name in ("link", "real", "b")
    )


def test_a_relative_line_in_a_whitelist_is_refused_with_its_number(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("/a\n\nb/c\n")
    with pytest.raises(Misconfigured, match="line 3") as caught:
        read_whitelist(str(tmp_path / "list"))
    assert "b/c" in caught.value.reason


@pytest.mark.parametrize("read", [read_whitelist, read_spoofing])
def test_a_file_that_can_not_be_read_is_named(
    tmp_path: Path, read: Callable[[str], object]
) -> None:
    (tmp_path / "latin").write_bytes(b"/\xe4\n")
    for name, reason in (("absent", "No such file"), ("latin", "not UTF-8"), (".", "directory")):
        path = os.path.join(tmp_path, name)
        with pytest.raises(Misconfigured) as caught:
            read(path)
        assert path in caught.value.reason
        assert reason in caught.value.reason


def test_a_bad_line_in_a_spoof_file_is_refused_with_file_and_number(tmp_path: Path) -> None:
    (tmp_path / "spoof").write_text("a:b\nc\n")
    with pytest.raises(Misconfigured, match="line 2") as caught:
        read_spoofing(str(tmp_path / "spoof"))
    assert str(tmp_path / "spoof") in caught.value.reason


def test_a_spoof_file_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "spoof").write_text("a:b,c\n\nd:*\n")
    assert [user for user, _ in read_spoofing(str(tmp_path / "spoof"))] == ["a", "d"]


def test_without_options_directories_are_made_below_the_current_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):  # and found the second time
        settings = default_settings()
        assert settings.staging == f"{tmp_path}/gobbler-data/staging"
        assert settings.registry == f"{tmp_path}/gobbler-data/registry"
        assert os.stat(settings.staging).st_mode & 0o7777 == 0o1733
        assert settings.host == "127.0.0.1"
        assert settings.admins == {getpass.getuser()}
        check_directories(settings)


def test_default_directories_that_can_not_be_made_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gobbler-data").write_text("")
    with pytest.raises(Misconfigured) as caught:
        default_settings()
    assert str(tmp_path) in caught.value.reason
    assert "--staging" in caught.value.hint
