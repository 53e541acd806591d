"""What the demonstration publishes, and how it compares what comes back."""

from __future__ import annotations

import filecmp
import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field

from gobbler.names import file_name_problem, is_internal

LEFT_OUT = ("site-packages", "dist-packages")
"""Not part of the standard library, even where they stand in its directory."""


@dataclass
class Copied:
    """What :func:`copy_tree` has copied, and what it left out and why."""

    files: int = 0
    bytes: int = 0
    left_out: dict[str, int] = field(default_factory=dict)

    def leave_out(self, reason: str) -> None:
        """Count one more entry that is not copied."""
        self.left_out[reason] = self.left_out.get(reason, 0) + 1


def copy_tree(source: str, target: str) -> Copied:
    """Copy ``source`` to ``target``, without what a registry does not take."""
    copied = Copied()
    pending = [""]
    os.mkdir(target)
    while pending:
        directory = pending.pop()
        with os.scandir(os.path.join(source, directory)) as entries:
            for entry in entries:
                path = os.path.join(directory, entry.name)
                reason = _reason_against(entry)
                if reason:
                    copied.leave_out(reason)
                elif entry.is_dir(follow_symlinks=False):
                    os.mkdir(os.path.join(target, path))
                    pending.append(path)
                else:
                    shutil.copyfile(entry.path, os.path.join(target, path))
                    copied.files += 1
                    copied.bytes += os.path.getsize(os.path.join(target, path))
    return copied


def _reason_against(entry: os.DirEntry[str]) -> str | None:
    """Why ``entry`` is left out of the demonstration; ``None`` if it is taken."""
    if entry.name in LEFT_OUT:
        return "directories of installed packages"
    if is_internal(entry.name) or file_name_problem(entry.name):
        return "names that a registry does not take"
    if entry.is_symlink():
        return "symbolic links"
    mode = entry.stat(follow_symlinks=False).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        return "special files"
    if not os.access(entry.path, os.R_OK):
        return "files that you can't read"
    return None


def differences(expected: str, got: str) -> list[str]:
    """Where the trees differ, byte by byte; a registry's own files in ``got`` don't count."""
    left, right = dict(_entries(expected)), dict(_entries(got))
    found = [f"{path} is missing" for path in sorted(left.keys() - right.keys())]
    found += [f"{path} is too much" for path in sorted(right.keys() - left.keys())]
    for path in sorted(left.keys() & right.keys()):
        if left[path] != right[path]:
            found.append(f"{path} is a directory in one place and a file in the other")
        elif not left[path] and not same_content(
            os.path.join(expected, path), os.path.join(got, path)
        ):
            found.append(f"{path} has other content")
    return found


def same_content(one: str, other: str) -> bool:
    """Whether two files are the same byte by byte."""
    return filecmp.cmp(one, other, shallow=False)


def _entries(root: str) -> Iterator[tuple[str, bool]]:
    """Relative paths below ``root``, and whether each is a directory."""
    for directory, directories, files in os.walk(root):
        below = os.path.relpath(directory, root)
        for name in directories:
            yield os.path.normpath(os.path.join(below, name)), True
        for name in files:
            if not is_internal(name):
                yield os.path.normpath(os.path.join(below, name)), False
