"""Changes whose roll-back fails as well: recovery completes them, all or nothing."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gobbler.fs.flush import Durability
from gobbler.registry.journal import Intent, Journal
from gobbler.registry.recovery import recover
from gobbler.registry.registry import Registry
from gobbler.registry.workspace import new_workspace

NAMES = ("a", "b", "c", "d")


def write(path: Path, content: str, *, link: bool) -> None:
    if link:
        path.symlink_to(content)
    else:
        path.write_text(content)


def read(path: Path) -> str:
    return os.readlink(path) if path.is_symlink() else path.read_text()


def failing(real: Callable[..., None], fails: Callable[..., bool]) -> Callable[..., None]:
    def function(*arguments: str, **options: object) -> None:
        if fails(*arguments):
            raise OSError(errno.EIO, os.strerror(errno.EIO), arguments[-1])
        real(*arguments, **options)

    return function


@pytest.mark.parametrize("link", [False, True])
@pytest.mark.parametrize("function", ["rename", "link", "symlink"])
@pytest.mark.parametrize("stuck", ["", *NAMES[:-1]])
def test_a_change_is_whole_or_not_at_all_though_the_roll_back_fails_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stuck: str, function: str, link: bool
) -> None:
    (tmp_path / "..incoming").mkdir()
    for name in NAMES:
        write(tmp_path / name, "old", link=link)
    registry = Registry(str(tmp_path))
    with new_workspace(registry.root) as workspace:
        journal = Journal(registry, workspace, marked=True)
        for name in NAMES:
            write(Path(journal.inside(name)), "new", link=link)
            (journal.replace_link if link else journal.replace)(name, name)
        journal.prepare(Intent(moves=[]))
        back = False

        def commit_fails(old: str, new: str) -> bool:
            nonlocal back
            back = back or new == str(tmp_path / NAMES[-1])
            return new == str(tmp_path / NAMES[-1])

        def back_fails(old: str, new: str) -> bool:
            # On the way back these three are called for the file, in its two places.
            place = str(tmp_path / stuck)
            inside = journal.inside(stuck)
            return (
                back and stuck != "" and {old, new} & {place, inside, f"{inside}.former"} != set()
            )

        with monkeypatch.context() as patched:
            patched.setattr(os, "rename", failing(os.rename, commit_fails))
            patched.setattr(os, function, failing(getattr(os, function), back_fails))
            with pytest.raises(OSError, match="Input/output error"):
                journal.commit()
    recover(registry, Durability.RELAXED)
    found = {read(tmp_path / name) for name in NAMES}
    assert found in ({"old"}, {"new"})
    assert stuck or found == {"old"}
    assert os.listdir(tmp_path / "..incoming") == []


@pytest.mark.parametrize("fails", [False, True])
def test_a_record_of_another_account_is_replaced_and_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    (tmp_path / "..incoming").mkdir()
    record, fifo, other = (tmp_path / name for name in ("a", "b", "c"))
    record.write_text("old")
    os.mkfifo(fifo)
    registry = Registry(str(tmp_path))

    def refused(old: str, new: str, **options: object) -> None:
        if os.stat(old).st_ino in foreign:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), old, None, new)
        link(old, new, **options)

    link: Callable[..., None] = os.link
    foreign = {record.stat().st_ino, fifo.stat().st_ino}
    monkeypatch.setattr("os.link", refused)
    with new_workspace(registry.root) as workspace:
        journal = Journal(registry, workspace, marked=True)
        for name in ("a", "b"):
            Path(journal.inside(name)).write_text("new")
            journal.replace(name, name)
        if fails:
            journal.add("missing", "c")
        journal.prepare(Intent(moves=[]))
        if fails:
            with pytest.raises(FileNotFoundError):
                journal.commit()
        else:
            journal.commit()
    assert record.read_text() == ("old" if fails else "new")
    assert not fifo.exists() if fails else fifo.read_text() == "new"
    assert not other.exists()
    assert os.listdir(tmp_path / "..incoming") == []
