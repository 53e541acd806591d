"""A registry with entries that are nobody's project, and with damage, as sites have them."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

ROOTS = 0
TRASH_OWNER = 1000

Make = Callable[[Path], object]


def _closed(path: Path) -> None:
    """A directory that only root may enter."""
    path.mkdir()
    (path / "inner").mkdir()
    path.chmod(0o700)


def _snapshot(path: Path) -> None:
    """What a file server shows of yesterday: a copy of a project."""
    inner = path / "hourly.0" / "weather" / "stations"
    inner.mkdir(parents=True)
    (inner / "..summary").write_text("{}")


def _socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # the path of a socket must be short
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


def _loop(path: Path) -> None:
    path.symlink_to(path.name)


ENTRIES: dict[str, Make] = {
    "lost+found": _closed,
    ".Trash-1000": _closed,
    ".snapshot": _snapshot,
    "README": lambda path: path.write_text("read me"),
    "dangling": lambda path: path.symlink_to("nowhere"),
    "loop": _loop,
    "linked-file": lambda path: path.symlink_to("/etc/hostname"),
    "pipe": os.mkfifo,
    "socket": _socket,
    "empty": Path.mkdir,
    "bad\x1bname": Path.mkdir,
    os.fsdecode(b"latin-\xe9"): Path.mkdir,
}
"""What may stand in a registry, in a project or in an asset, by name."""


def add_foreign(directory: Path) -> None:
    """Put all :data:`ENTRIES` into a directory of a registry."""
    for name, make in ENTRIES.items():
        make(directory / name)


def half_done(asset: Path, owner: Path) -> None:
    """A version as the Go service leaves it when it is killed: files, and no records."""
    version = asset / "half-done"
    (version / "d").mkdir(parents=True)
    (version / "f").write_bytes(b"half")
    (version / "d" / "l").symlink_to("../f")
    status = owner.stat()
    for path in (version, *version.rglob("*")):
        os.chown(path, status.st_uid, status.st_gid, follow_symlinks=False)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "array": lambda path: path.write_bytes(b"[]"),
    "wrong-types": lambda path: path.write_bytes(b'{"f": 5, "version": [], "total": "many"}'),
    "gone": os.unlink,
    "unreadable": lambda path: (os.chown(path, ROOTS, ROOTS), path.chmod(0o600)),
    "directory": lambda path: (path.unlink(), path.mkdir()),
    "dangling": lambda path: (path.unlink(), path.symlink_to("nowhere")),
    "pipe": lambda path: (path.unlink(), os.mkfifo(path)),
    "socket": lambda path: (path.unlink(), _socket(path)),
    "sparse": lambda path: os.truncate(path, 1 << 40),
}
"""What may happen to a record, by name."""


def remove(directory: Path) -> None:
    shutil.rmtree(os.fsencode(directory), ignore_errors=True)
