"""A dry run refuses what the upload refuses, and accepts what it accepts."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gobbler.client import Client
from gobbler.errors import Code, GobblerError
from gobbler.transfer.scan import LONGEST_PATH

Change = Callable[[Path], object]


def deep(top: Path) -> None:
    """More directories within directories than a version may have."""
    opened = os.open(top, os.O_RDONLY)
    for _ in range(LONGEST_PATH // 2 + 2):
        os.mkdir("d", dir_fd=opened)
        inner = os.open("d", os.O_RDONLY, dir_fd=opened)
        os.close(opened)
        opened = inner
    os.close(opened)


def another_users(top: Path) -> None:
    """A hard link to a file of somebody else, which only root can make everywhere."""
    file = top.parent / f"of-another-{top.name}"  # no copy that a client made
    file.write_text("secret")
    os.chown(file, 65534, 65534)
    os.link(file, top / "theirs")


def hidden_way(top: Path) -> None:
    """A link that goes down by a link to a directory, and up again."""
    (top / "sub" / "deep").mkdir()
    (top / ".way").symlink_to("sub/deep")
    (top / "around").symlink_to(".way/../inner")


def by_another_name(top: Path) -> None:
    """An absolute link to a file of the source, as in a home that is itself a link."""
    home = top.parent / f"home-of-{top.name}"
    home.symlink_to(top)
    (top / "homely").symlink_to(home / "sub" / "inner")


def given_away(top: Path, mode: int) -> None:
    """A directory with a file of somebody else, and its mode; the file is open to everybody."""
    place = top / f"given-{mode:o}"
    place.mkdir()
    (place / "file").write_text("open")
    for path in (place / "file", place):
        os.chown(path, 65534, 65534)
    (place / "file").chmod(0o644)
    place.chmod(mode)


def closed_file(top: Path) -> None:
    """A file of somebody else that only they may read."""
    (top / "closed").write_text("closed")
    os.chown(top / "closed", 65534, 65534)
    (top / "closed").chmod(0o600)


def mostly_hole(top: Path) -> None:
    """A file that is larger than the whole disk, and takes nearly nothing of it."""
    disk = os.statvfs(top)
    with (top / "sparse").open("wb") as file:
        file.truncate(disk.f_blocks * disk.f_frsize + 1)
        file.write(b"x")


OTHERS = {"another user's file", "an open directory of another", "a closed directory of another"}
OTHERS.add("a closed file of another")

CHANGES: dict[str, Change] = {
    "a FIFO": lambda top: os.mkfifo(top / "fifo"),
    "an absolute link": lambda top: (top / "passwd").symlink_to("/etc/passwd"),
    "an absolute link within": lambda top: (top / "same").symlink_to(top / "file"),
    "a link within": lambda top: (top / "also").symlink_to("file"),
    "a link to a directory": lambda top: (top / "directory").symlink_to("sub"),
    "a link to nothing": lambda top: (top / "lost").symlink_to("gone"),
    "a link to itself": lambda top: (top / "loop").symlink_to("loop"),
    "a link upwards": lambda top: (top / "up").symlink_to("../../../../etc/hostname"),
    "a control character": lambda top: (top / "bell\a").write_text(""),
    "a backslash": lambda top: (top / "back\\slash").write_text(""),
    "not UTF-8": lambda top: Path(os.fsdecode(bytes(top) + b"/\xff")).write_text(""),
    "an internal name": lambda top: (top / "..x").write_text(""),
    "a hidden name": lambda top: (top / ".hidden\n").write_text(""),
    "too deep": deep,
    "a hard link": lambda top: os.link(top / "file", top / "twice"),
    "another user's file": another_users,
    "a link around a hidden link": hidden_way,
    "a link by another name of the source": by_another_name,
    "a link through a file": lambda top: (top / "through").symlink_to("file/../sub/inner"),
    "a link with a slash at its end": lambda top: (top / "slash").symlink_to("file/"),
    "an open directory of another": lambda top: given_away(top, 0o755),
    "a closed directory of another": lambda top: given_away(top, 0o700),
    "a closed file of another": closed_file,
    "a file that is mostly hole": mostly_hole,
    "an empty directory": lambda top: (top / "empty").mkdir(),
}


@pytest.fixture
def base(client: Client, project: str, source: Path) -> str:
    client.upload(project, "a", "1", source)
    return project


@pytest.mark.parametrize("in_staging", [False, True])
def test_holes_that_are_larger_than_the_disk_are_refused_at_once(
    client: Client, base: str, tmp_path: Path, in_staging: bool
) -> None:
    top = Path(client.allocate_upload_directory()) if in_staging else tmp_path
    mostly_hole(top)
    for call in (client.plan_upload, client.upload):
        with pytest.raises(GobblerError, match="the others are holes") as refused:
            call(f"{base}/a/2", top)
        assert refused.value.code == Code.INVALID_SOURCE
        assert "format" in refused.value.hint or "format" in refused.value.reason


@pytest.mark.parametrize("in_staging", [False, True])
@pytest.mark.filterwarnings("ignore::gobbler.client.notices.LeftOut")
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(chosen=st.sets(st.sampled_from(sorted(CHANGES)), min_size=1, max_size=3))
def test_a_plan_refuses_what_the_upload_refuses(
    client: Client,
    base: str,
    tmp_path_factory: pytest.TempPathFactory,
    in_staging: bool,
    chosen: set[str],
) -> None:
    if os.geteuid() != 0 and chosen & OTHERS:
        pytest.skip("only root can give a file away")
    if in_staging:
        top = Path(client.allocate_upload_directory())
    else:
        top = tmp_path_factory.mktemp("tree") / "source"
        top.mkdir()
    (top / "sub").mkdir()
    (top / "file").write_text("content")
    (top / "sub" / "inner").write_text("more content")
    for name in sorted(chosen):
        CHANGES[name](top)
    target = f"{base}/a/{top.name}-{os.urandom(4).hex()}"
    planned = uploaded = None
    undecided: dict[str, str] = {}
    try:
        undecided = client.plan_upload(target, top).undecided
    except GobblerError as error:
        planned = error
    try:
        client.upload(target, top, consume=False)
    except GobblerError as error:
        uploaded = error
    finally:
        subprocess.run(["rm", "-rf", top, f"{top}-home"], check=True)  # too deep for shutil
    if undecided:  # nothing is whitelisted here
        assert uploaded is not None, chosen
        return
    assert (planned is None) == (uploaded is None), (chosen, planned, uploaded)
    if planned is not None and uploaded is not None:
        assert planned.code == uploaded.code, (chosen, planned, uploaded)
