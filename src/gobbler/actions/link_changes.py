"""Changes of links as files in a workspace, which the journal then renames to their places.

The registry may change between two plans. So what was prepared for one plan stays, and the next one
prepares only what differs.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable
from typing import NamedTuple

from gobbler.actions.context import RequestContext
from gobbler.actions.version_scan import links_file
from gobbler.errors import Code, Refused, quoted
from gobbler.fs.atomic_write import write_new
from gobbler.fs.flush import flush_paths, flush_tree
from gobbler.model.names import VersionKey
from gobbler.model.records import Link, Manifest, encode
from gobbler.registry.journal import ANSWER, Intent, Journal
from gobbler.registry.workspace import Workspace
from gobbler.rules.links import links_by_directory, symlink_text
from gobbler.rules.reroute import Change
from gobbler.transfer.dispatch import Weight, weigh
from gobbler.transfer.duplicate import Duplicate, duplicate_all, duplicate_here


class _Copy(NamedTuple):
    """A copy of a file for one place; another plan may need the same."""

    place: str
    source: str
    size: int
    md5sum: str

    @classmethod
    def of(cls, change: Change) -> _Copy:
        end = change.former.end
        return cls(
            change.key.file(change.path),
            end.key.file(end.path),
            change.entry.size,
            change.entry.md5sum,
        )


class _Records(NamedTuple):
    """The records of a version with ``changes`` of its links, made from its ``manifest``.

    ``names`` in the workspace, by the path of each in the registry; ``without_links``: the
    ``..links`` that go.
    """

    manifest: Manifest
    changes: list[Change]
    names: dict[str, str]
    without_links: list[str]


class PreparedChanges:
    """The changes of links that are prepared in ``workspace``."""

    def __init__(self, context: RequestContext, workspace: Workspace) -> None:
        self._context = context
        self._workspace = workspace
        self._registry = context.service.registry
        self._journal = Journal(self._registry, workspace, marked=True)
        self._copied: dict[_Copy, str] = {}
        self._records: dict[VersionKey, _Records] = {}
        self._symlinks: dict[tuple[str, str], str] = {}
        self._texts: dict[str, str] = {}
        self._made = 0
        self._unflushed: list[str] | None = None

    def is_quick(self, changes: list[Change]) -> bool:
        """Whether the copies that are missing for ``changes`` take only a moment."""
        missing = self._missing(changes)
        return weigh({copy.place: copy.size for copy in missing}) is Weight.LIGHT

    def _missing(self, changes: list[Change]) -> list[_Copy]:
        copies = (_Copy.of(change) for change in changes if change.is_copy)
        return [copy for copy in copies if copy not in self._copied]

    def copy_files(self, changes: list[Change], *, here: bool = False) -> None:
        """Copy the files of which no other copy survives, and verify each.

        ``here``: in this thread, since others wait for it.
        """
        names = {self._new_file("file"): copy for copy in self._missing(changes)}
        copies = {
            name: Duplicate(self._registry.path(copy.source), copy.size, copy.md5sum)
            for name, copy in names.items()
        }
        whitelist = self._context.service.whitelist
        dispatcher = self._context.dispatcher(self._workspace)
        duplicate = duplicate_here if here else duplicate_all
        for source, problem in duplicate(dispatcher, copies, whitelist):
            raise Refused(
                f"{quoted(source)} can't replace the links to it: {problem}",
                code=Code.INVALID_VERSION,
                hint="Restore the file, or what it leads to, and validate its version; if the file "
                "is right, reindex the version.",
            )
        self._copied.update({copy: name for name, copy in names.items()})

    def stage(
        self,
        changes: list[Change],
        manifest_of: Callable[[VersionKey], Manifest],
        answer: dict[str, object],
    ) -> dict[str, int]:
        """Prepare the journal for exactly these ``changes``; the bytes that they add, by project.

        Their copies are made.
        """
        journal = self._journal
        journal.clear()
        usage: dict[str, int] = defaultdict(int)
        by_version: dict[VersionKey, list[Change]] = defaultdict(list)
        for change in changes:
            target = change.key.file(change.path)
            if change.entry.link is None:
                usage[change.key.project] += change.entry.size
                journal.replace_link(self._copied[_Copy.of(change)], target)
            else:
                journal.replace_link(self._symlink(change, change.entry.link, target), target)
            by_version[change.key].append(change)
        for key, of_version in by_version.items():
            self._stage_records(key, of_version, manifest_of(key))
        journal.prepare(Intent(moves=[], recount=sorted(usage)), answer)
        return usage

    def flush(self) -> None:
        """Flush what has been prepared since the last call."""
        durability = self._context.service.durability
        if self._unflushed is None:
            flush_tree(self._workspace.path, durability)
        else:
            inside = [self._journal.inside(name) for name in (*self._unflushed, ANSWER)]
            flush_paths(
                [*inside, self._workspace.intent],
                [self._workspace.path],
                durability,
                within=self._workspace.path,
            )
        self._unflushed = []

    def commit(self, usage: dict[str, int]) -> Journal:
        """Make the changes that were staged; the caller holds the lock of the registry."""
        for project, added in sorted(usage.items()):
            self._journal.add_usage(self._new("usage"), project, added)
        self._journal.commit()
        return self._journal

    def _new(self, kind: str) -> str:
        self._made += 1
        return f"{kind}-{self._made}"

    def _new_file(self, kind: str) -> str:
        name = self._new(kind)
        if self._unflushed is not None:
            self._unflushed.append(name)
        return name

    def _symlink(self, change: Change, link: Link, target: str) -> str:
        text = symlink_text(change.key, change.path, link)
        known = self._symlinks.get((target, text))
        if known is None:
            known = self._symlinks[target, text] = self._new("link")
            self._make_symlink(text, self._journal.inside(known))
        return known

    def _make_symlink(self, text: str, path: str) -> None:
        # Creating an inode is slow. Links of the same text, as along a chain of versions, can share
        # one, because a symbolic link never changes.
        if text in self._texts:
            try:
                os.link(self._texts[text], path, follow_symlinks=False)
            except OSError:
                del self._texts[text]  # the filesystem allows no more names
            else:
                return
        os.symlink(text, path)
        self._texts[text] = path

    def _stage_records(self, key: VersionKey, changes: list[Change], manifest: Manifest) -> None:
        known = self._records.get(key)
        if known is None or known.manifest is not manifest or known.changes != changes:
            known = self._records[key] = self._make_records(key, changes, manifest)
        for target, name in known.names.items():
            self._journal.replace(name, target)
        for target in known.without_links:
            if self._registry.has(target):
                self._journal.remove(target, self._new("former-links"))

    def _make_records(self, key: VersionKey, changes: list[Change], manifest: Manifest) -> _Records:
        new = {**manifest, **{change.path: change.entry for change in changes}}
        links = links_by_directory(new)
        made = _Records(manifest, changes, {}, [])
        for directory in sorted({change.path.rpartition("/")[0] for change in changes}):
            target = key.file(links_file(directory))
            if directory in links:
                made.names[target] = self._written("links", encode(links[directory]))
            else:
                made.without_links.append(target)
        made.names[key.manifest] = self._written("manifest", encode(new))
        return made

    def _written(self, kind: str, data: bytes) -> str:
        name = self._new_file(kind)
        write_new(self._journal.inside(name), data)
        return name
