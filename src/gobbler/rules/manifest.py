"""The manifest of a version as a tree, and the difference between two of them.

A manifest is a flat list of paths; :class:`Hierarchy` is the tree of directories that it stands
for. In a difference, two files are the same if size and MD5 are, whether or not one is stored as
a link. Only empty directories count, because a manifest lists no others: a directory that was
filled or emptied is neither added nor removed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from gobbler.errors import Code, Fault, quoted
from gobbler.model.names import MAX_NAME_BYTES, file_name_problem, is_internal, name_problem
from gobbler.model.records import Entry, Link, Manifest, decode_manifest

MAX_FILE_BYTES = 2**63 - 1
"""Largest size of a file: that of ``off_t``."""


def read_manifest(data: bytes, where: str) -> Manifest:
    """Read the manifest of a registry that is not trusted, before its paths are used to write.

    Unlike :func:`~gobbler.model.records.decode_manifest`, raises :class:`~gobbler.errors.Fault`
    also for an entry that no service writes, and names it: one whose path leaves the directory or
    belongs to the service, a file with files below it, an impossible size, a link that leads
    nowhere.
    """
    manifest = decode_manifest(data, where)
    found = manifest_problem(manifest)
    if found is None:
        return manifest
    path, problem = found
    raise Fault(f"{where} is damaged: {quoted(path)} {problem}", code=Code.DAMAGED_RECORD)


def manifest_problem(manifest: Manifest) -> tuple[str, str] | None:
    """The path of an entry that no service writes, and its problem; ``None`` if there is none."""
    directories = {""}
    # Nearly all are valid, which shows at a glance on all of them together.
    if _are_plain(manifest):
        directories |= {path.rpartition("/")[0] for path in manifest}
        for path in list(directories):
            _add_above(path, directories)
    else:
        for path in manifest:
            if (problem := _path_problem(path, directories)) is not None:
                return path, problem
    for path, entry in manifest.items():
        if entry.link is not None or entry.md5sum == "" or entry.size > MAX_FILE_BYTES:
            problem = _entry_problem(entry)
            if problem is not None:
                return path, problem
    for path in directories & manifest.keys():
        if not manifest[path].is_directory:
            return path, "is a file with other files below it"
    return None


def _are_plain(paths: Collection[str]) -> bool:
    """Whether all paths are valid: printable, and no component is long or begins with a dot.

    ``False``: they may be valid.
    """
    text = "/".join(paths)
    return (
        text.isprintable()
        and not text.startswith((".", "/"))
        and not text.endswith("/")
        and "//" not in text
        and "/." not in text
        and "" not in paths
        and (_longest(paths) <= _SHORT or _longest(text.split("/")) <= _SHORT)
    )


_SHORT = MAX_NAME_BYTES // 4
"""Characters that have no more bytes than a name may have."""


def _longest(texts: Iterable[str]) -> int:
    return max(map(len, texts), default=0)


def _add_above(path: str, directories: set[str]) -> None:
    """Add the directories above ``path``, from the deepest one to the first that is there."""
    parent = path.rpartition("/")[0]
    while parent not in directories:
        directories.add(parent)
        parent = parent.rpartition("/")[0]


def path_problem(path: str) -> str | None:
    """The problem with the path of a file or directory in a version; ``None`` if it is valid."""
    return _path_problem(path, {""})


def _path_problem(path: str, directories: set[str]) -> str | None:
    """The problem with ``path``; ``directories`` are valid, and those above it are added."""
    if path.startswith("/"):
        return "is an absolute path"
    parent, _, name = path.rpartition("/")
    problem = _component_problem(name)
    while problem is None and parent not in directories:
        directories.add(parent)
        parent, _, name = parent.rpartition("/")
        problem = _component_problem(name)
    return problem


def _component_problem(name: str) -> str | None:
    if name in ("", "."):
        return "has an empty component, or one that is '.'"
    if is_internal(name):
        return "has a component that starts with '..'"
    return file_name_problem(name)


def _entry_problem(entry: Entry) -> str | None:
    if entry.size > MAX_FILE_BYTES:
        return f"has an impossible size: {entry.size}"
    if entry.is_directory and entry.size:
        return "has a size, but no checksum"
    link = entry.link
    if link is None:
        return None
    if entry.is_directory:
        return "is a directory and a link"
    if link.ancestor is not None and link.ancestor.ancestor is not None:
        return "is a link whose ancestor has an ancestor"
    return _link_problem(link) or (None if link.ancestor is None else _link_problem(link.ancestor))


def _link_problem(link: Link) -> str | None:
    problem = (
        name_problem(link.project)
        or name_problem(link.asset)
        or name_problem(link.version)
        or path_problem(link.path)
    )
    return problem and f"is a link to a name or path that is not valid: it {problem}"


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


class Pair(NamedTuple):
    """The entries of one path in the version before and in the one after."""

    before: Entry
    after: Entry

    @property
    def is_relinked(self) -> bool:
        """Whether the two are links to different files, or only one of them is a link."""
        return _end(self.before) != _end(self.after)


@dataclass(frozen=True)
class Difference:
    """The entries of two versions by path, each path in one of the four and in order."""

    added: dict[str, Entry]
    removed: dict[str, Entry]
    changed: dict[str, Pair]
    same: dict[str, Pair]

    def __bool__(self) -> bool:
        """Whether the versions differ for their readers."""
        return bool(self.added or self.removed or self.changed)


def difference(before: Manifest, after: Manifest) -> Difference:
    """The changes that turn ``before`` into ``after``."""
    both = sorted(before.keys() & after.keys())
    pairs = {path: Pair(before[path], after[path]) for path in both}
    return Difference(
        added=_only(after, before),
        removed=_only(before, after),
        changed={path: pair for path, pair in pairs.items() if not _is_same(pair)},
        same={path: pair for path, pair in pairs.items() if _is_same(pair)},
    )


def _is_same(pair: Pair) -> bool:
    before, after = pair
    return (before.size, before.md5sum) == (after.size, after.md5sum)


def _only(these: Manifest, others: Manifest) -> dict[str, Entry]:
    """The entries of ``these`` that ``others`` does not have."""
    found = {path: these[path] for path in sorted(these.keys() - others.keys())}
    empty = [path for path, entry in found.items() if entry.is_directory]
    if empty:
        filled = _directories(others)
        for path in empty:
            if path in filled:
                del found[path]
    return found


def _directories(manifest: Manifest) -> set[str]:
    """Every directory with an entry of ``manifest`` below it."""
    found: set[str] = set()
    for path in manifest:
        parent = path.rpartition("/")[0]
        while parent and parent not in found:
            found.add(parent)
            parent = parent.rpartition("/")[0]
    return found


def _end(entry: Entry) -> Link | None:
    return None if entry.link is None else entry.link.end
