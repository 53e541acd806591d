"""Make and walk directories of any depth; the standard library recurses."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress


def make_directories(path: str) -> None:
    """Make the directory ``path`` and those above it, as far as they are missing.

    Raises ``OSError``.
    """
    missing = [path]
    while True:
        try:
            os.mkdir(missing[-1])
        except FileNotFoundError:
            above = os.path.dirname(missing[-1].rstrip("/"))
            if above in ("", missing[-1]):
                raise
            missing.append(above)
            continue
        except FileExistsError:
            if not os.path.isdir(missing[-1]):
                raise
        missing.pop()
        if not missing:
            return


def entries_below(top: str) -> Iterator[tuple[str, bool]]:
    """The paths below the directory ``top``, relative to it, and whether each is a directory.

    Follows no link. Directories that can't be listed count as empty.
    """
    waiting = [""]
    while waiting:
        prefix = waiting.pop()
        deeper = []
        found: list[os.DirEntry[str]] = []  # a caller may stop halfway, and keep nothing open
        with suppress(OSError), os.scandir(os.path.join(top, prefix)) as entries:
            found = list(entries)
        for entry in found:
            is_directory = entry.is_dir(follow_symlinks=False)
            yield prefix + entry.name, is_directory
            if is_directory:
                deeper.append(f"{prefix}{entry.name}/")
        waiting.extend(reversed(deeper))
