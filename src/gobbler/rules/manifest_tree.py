"""The tree of directories of a manifest, which itself is a flat list of paths."""

from __future__ import annotations

from collections.abc import Iterator

from gobbler.model.records import Entry, Manifest

Children = dict[str, "Entry | None"]
"""The content of one directory by name: the entry of a file, ``None`` for a directory."""


class Hierarchy:
    """The directories of a version, of which only the empty ones are in its manifest.

    Where a damaged manifest has files below a file, the directory hides the file.
    """

    def __init__(self, manifest: Manifest) -> None:
        self._directories: dict[str, Children] = {"": {}}
        for path, entry in manifest.items():
            if entry.is_directory:
                self._directory(path)
            else:
                parent, _, name = path.rpartition("/")
                self._directory(parent).setdefault(name, entry)

    def _directory(self, path: str) -> Children:
        made = self._directories.setdefault(path, {})
        inner = path
        while inner:
            parent, _, name = inner.rpartition("/")
            known = parent in self._directories
            self._directories.setdefault(parent, {})[name] = None
            if known:
                break
            inner = parent
        return made

    def children(self, path: str) -> Children | None:
        """The content of the directory ``path`` (``""``: the version); ``None`` if it is none."""
        return self._directories.get(path)

    def files(self, path: str = "") -> Iterator[tuple[str, Entry]]:
        """Path and entry of every file below the directory ``path``, in no order."""
        pending = [path]
        while pending:
            directory = pending.pop()
            for name, entry in (self._directories.get(directory) or {}).items():
                full = f"{directory}/{name}" if directory else name
                if entry is None:
                    pending.append(full)
                else:
                    yield full, entry
