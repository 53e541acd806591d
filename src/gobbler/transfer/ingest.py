"""From a plan to a finished tree: ingest the files of a source, then write links and records.

A file of the source is copied into the tree, or found to be published already and linked.
"""

from __future__ import annotations

import os
import stat
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from gobbler.fs.atomic_write import write_new
from gobbler.fs.fingerprint import Fingerprint
from gobbler.fs.mounts import HIGH_LATENCY_SECONDS
from gobbler.fs.open import READ, closing
from gobbler.fs.space import check_space, fits
from gobbler.model.names import LINKS, MANIFEST, SUMMARY, VersionKey
from gobbler.model.progress import Progress
from gobbler.model.records import Entry, Link, Manifest, Summary, encode
from gobbler.registry.discarded import make_room
from gobbler.registry.workspace import Workspace, WorkspaceInUse
from gobbler.rules.dedup import Content, DedupCandidates
from gobbler.rules.links import fits_in_text, links_by_directory, symlink_text
from gobbler.rules.upload_plan import Plan
from gobbler.transfer.batch import (
    POOLED,
    Batch,
    BatchProgress,
    DedupCandidate,
    IngestedFile,
    is_same,
    run_batch,
    run_batch_in_run_directory,
)
from gobbler.transfer.dispatch import (
    Dispatcher,
    FileWork,
    Weight,
    are_many,
    dispatch,
    make_files,
    pooled_batch_size,
    weigh,
)
from gobbler.transfer.executors import pool_of
from gobbler.transfer.hash_files import hash_kept
from gobbler.transfer.link_batch import POOLED as LINKS_IN_POOL
from gobbler.transfer.link_batch import NewLink, cut_links, make_links, run_link_batch
from gobbler.transfer.resume import Earlier, remove_rest, resume, resume_notes
from gobbler.transfer.staged_source import StagedSource

CONTENTS_AT_A_TIME = 100_000
"""Number of contents to look up at a time, so that memory stays flat."""


V = TypeVar("V")


class Ingested(NamedTuple):
    """The entries of ingested files; for a source to be consumed, the fingerprint of each file."""

    entries: Manifest
    fingerprints: dict[str, Fingerprint]


def ingest_files(
    dispatcher: Dispatcher,
    source: StagedSource,
    plan: Plan,
    candidates: DedupCandidates | None,
    *,
    consume: bool,
    adopt: bool,
) -> Ingested:
    """Ingest the files of ``plan`` into the tree of the workspace.

    Files with the content of a dedup candidate become links to it. ``adopt``: files of the
    service's own account may be hard-linked.
    """
    workspace = dispatcher.workspace
    dispatcher.progress.expect(len(plan.copies), sum(plan.copies.values()))
    earlier = resume(workspace, plan.directories, {} if adopt else plan.copies)
    if not adopt:
        _check_space(dispatcher, plan, candidates, earlier)
    entries: Manifest = {}
    fingerprints: dict[str, Fingerprint] = {}
    fresh: list[str] = []
    entries.update(hash_kept(dispatcher, plan))
    offered = _Offered(dispatcher, plan, candidates)
    for ingested in _ingested(dispatcher, source, plan, offered, earlier, adopt=adopt):
        link = offered.taken(ingested)
        entries[ingested.path] = Entry(ingested.size, ingested.md5sum, link)
        if consume:
            fingerprints[ingested.path] = ingested.fingerprint
        dispatcher.progress.advance(1, ingested.size)
        if link is None:
            fresh.append(ingested.path)
    if candidates is not None and fresh:
        entries.update(_linked(dispatcher, plan, candidates, entries, fresh))
    return Ingested(entries, fingerprints)


def _check_space(
    dispatcher: Dispatcher,
    plan: Plan,
    candidates: DedupCandidates | None,
    earlier: Earlier,
) -> None:
    """Raise :class:`~gobbler.errors.Fault` if the copies will not fit on the disk.

    What is in the latest version at the same path, with the same size, may need no copy.
    """
    root = dispatcher.registry.root
    if fits(root, plan.space(plan.copies)):
        return
    new = [
        path
        for path, size in plan.copies.items()
        if path not in earlier.complete
        and (candidates is None or candidates.at_path(path, size) is None)
    ]
    needed = plan.space(new) - sum(copy.allocated() for copy in earlier.partial.values())
    make_room(root, needed)
    check_space(root, needed, f"a copy of the source ({len(new)} files)")


def _ingested(
    dispatcher: Dispatcher,
    source: StagedSource,
    plan: Plan,
    offered: _Offered,
    earlier: Earlier,
    *,
    adopt: bool,
) -> Iterator[IngestedFile]:
    def batches(run_directories_path: str) -> Iterator[Batch]:
        return _batches(
            dispatcher,
            source,
            plan,
            offered,
            earlier,
            run_directories_path,
            adopt=adopt,
        )

    files = FileWork(
        run_batch,
        run_batch_in_run_directory,
        batches,
        dispatcher.workspace.tree,
        weigh(plan.copies),
        POOLED,
    )
    with resume_notes(dispatcher.workspace, earlier) as note:
        for ingested in make_files(dispatcher, files, is_expected=True):
            note(ingested)
            yield ingested
    remove_rest(earlier)


class _Offered:
    """The dedup candidates of the files whose batches run, with the link to each."""

    def __init__(
        self, dispatcher: Dispatcher, plan: Plan, candidates: DedupCandidates | None
    ) -> None:
        self._root = dispatcher.registry.root
        self._levels = plan.link_levels
        self._candidates = candidates
        self._links: dict[str, Link] = {}

    def of(self, files: dict[str, int]) -> dict[str, DedupCandidate]:
        """The candidates of a batch that begins; sizes in bytes by path."""
        found: dict[str, DedupCandidate] = {}
        if self._candidates is None:
            return found
        root, levels, at_path = self._root, self._levels, self._candidates.at_path
        for path, size in files.items():
            candidate = at_path(path, size)
            if candidate is not None and fits_in_text(path, candidate[1], levels=levels):
                md5sum, link = candidate
                end = link.ancestor or link
                real = f"{root}/{end.project}/{end.asset}/{end.version}/{end.path}"
                found[path] = md5sum, real
                self._links[path] = link
        return found

    def taken(self, ingested: IngestedFile) -> Link | None:
        """The link that stands for an ingested file; ``None`` if it was copied."""
        link = self._links.pop(ingested.path, None)
        return link if ingested.same else None


def _linked(
    dispatcher: Dispatcher,
    plan: Plan,
    candidates: DedupCandidates,
    entries: Manifest,
    fresh: list[str],
) -> Manifest:
    """The linked entries of the ``fresh`` copies whose content is published."""
    links: dict[str, Link] = {}
    levels = plan.link_levels
    for start in range(0, len(fresh), CONTENTS_AT_A_TIME):
        contents = {
            path: _content(entries[path]) for path in fresh[start : start + CONTENTS_AT_A_TIME]
        }
        found = candidates.with_contents(set(contents.values()))
        links |= {
            path: found[c]
            for path, c in contents.items()
            if c in found and fits_in_text(path, found[c], levels=levels)
        }
    confirmed = dispatch(
        dispatcher,
        run_confirm_batch,
        _confirm_batches(dispatcher, entries, links),
        weight=weigh({path: entries[path].size for path in links}),
    )
    linked = {}
    for path in confirmed:
        os.unlink(f"{dispatcher.workspace.tree}/{path}")
        linked[path] = Entry(entries[path].size, entries[path].md5sum, links[path])
    return linked


def _content(entry: Entry) -> Content:
    return entry.size, entry.md5sum


def _batches(
    dispatcher: Dispatcher,
    source: StagedSource,
    plan: Plan,
    offered: _Offered,
    earlier: Earlier,
    run_directories_path: str,
    *,
    adopt: bool,
) -> Iterator[Batch]:
    for files in dispatcher.cut(plan.copies):
        same = offered.of(files)
        workspace = dispatcher.workspace
        yield Batch(
            source,
            dispatcher.workspace.tree,
            files,
            same,
            adopt,
            dispatcher.write_out,
            workspace.path if workspace.is_resumable else "",
            _of(earlier.complete, files),
            _of(earlier.partial, files),
            run_directories_path,
        )


def _of(copies: dict[str, V], files: dict[str, int]) -> dict[str, V]:
    return {path: copies[path] for path in files if path in copies} if copies else {}


def _confirm_batches(
    dispatcher: Dispatcher, entries: Manifest, links: dict[str, Link]
) -> Iterator[ConfirmBatch]:
    for files in dispatcher.cut({path: entries[path].size for path in links}):
        yield ConfirmBatch(
            dispatcher.workspace.tree,
            {path: (size, _real(dispatcher, links[path])) for path, size in files.items()},
        )


def _real(dispatcher: Dispatcher, link: Link) -> str:
    """The path of the content that ``link`` leads to."""
    return dispatcher.registry.path(link.end.key.file(link.end.path))


@dataclass(frozen=True)
class ConfirmBatch:
    """Copied files whose size and MD5 are those of a published file.

    ``files``: for each path, the size in bytes, and the path of the published content.
    """

    tree: str
    files: dict[str, tuple[int, str]]


def run_confirm_batch(batch: ConfirmBatch, progress: Progress) -> list[str]:
    """The paths of the copies that equal the published file, byte for byte.

    It changes nothing, so it may run twice: the dispatching process removes the copies.
    """
    reported = BatchProgress(batch.tree, progress)
    confirmed = []
    for path, (size, real) in batch.files.items():
        reported.check()
        with closing(os.open(f"{batch.tree}/{path}", READ)) as opened:
            if is_same(opened, real, size, reported):
                confirmed.append(path)
    return confirmed


def check_tree(workspace: Workspace, manifest: Manifest) -> None:
    """Check that the tree has the files of ``manifest``, with their sizes.

    Do this before a tree is published that other processes may have written to. Raises
    :class:`~gobbler.registry.workspace.WorkspaceInUse`.
    """
    for path, entry in manifest.items():
        try:
            status = os.lstat(f"{workspace.tree}/{path}")
        except OSError:
            raise WorkspaceInUse.at(workspace.path) from None
        if stat.S_ISREG(status.st_mode) and status.st_size != entry.size:
            raise WorkspaceInUse.at(workspace.path)


MANY_LINKS = 1000
"""Number of links that are worth a second thread."""

FIRST_LINKS = 16
"""Number of links whose creation is timed first."""

LOCAL_THREADS = 2
"""Threads that create links on a local filesystem, where more threads are no faster."""


def write_version(
    dispatcher: Dispatcher, key: VersionKey, plan: Plan, manifest: Manifest, summary: Summary
) -> None:
    """Complete the tree of version ``key``: symbolic links, then the records.

    ``..links`` come first, ``..summary`` last.
    """
    tree = dispatcher.workspace.tree
    make_symlinks(dispatcher, key, plan, manifest)
    for directory, links in links_by_directory(manifest).items():
        write_new(f"{tree}/{directory}/{LINKS}" if directory else f"{tree}/{LINKS}", encode(links))
    write_new(f"{tree}/{MANIFEST}", encode(manifest))
    write_new(f"{tree}/{SUMMARY}", encode(summary))


def make_symlinks(dispatcher: Dispatcher, key: VersionKey, plan: Plan, manifest: Manifest) -> None:
    """Make the symbolic link of every linked entry and of every kept one.

    Many are made by the local pool, or by threads.
    """
    linked = [(path, entry.link) for path, entry in manifest.items() if entry.link is not None]
    tree, pool = dispatcher.workspace.tree, pool_of(dispatcher.executor)
    count = len(linked) + len(plan.kept)
    if pool is not None and are_many(count):
        batches = cut_links(tree, _new_links(key, linked, plan), pooled_batch_size(count, pool))
        for _ in dispatch(
            dispatcher, run_link_batch, batches, weight=Weight.MANY, pooled=LINKS_IN_POOL
        ):
            pass
        return
    texts: dict[str, list[NewLink]] = defaultdict(list)
    for directory, link in _new_links(key, linked, plan):
        texts[directory].append(link)
    places = {f"{tree}/{inner}" if inner else tree: links for inner, links in texts.items()}
    if len(places) == 1 or count < MANY_LINKS:
        for place, links in places.items():
            make_links(place, links)
        return
    _make_in_threads(dispatcher, places)


def _new_links(
    key: VersionKey, linked: list[tuple[str, Link]], plan: Plan
) -> Iterator[tuple[str, NewLink]]:
    """The links to make, each with its directory."""
    for path, link in linked:
        directory, _, name = path.rpartition("/")
        yield directory, (name, symlink_text(key, path, link))
    for path, target in plan.kept.items():
        directory, _, name = path.rpartition("/")
        yield directory, (name, target.target)


def _make_in_threads(dispatcher: Dispatcher, places: dict[str, list[NewLink]]) -> None:
    """Make links by directory, one thread for each: the kernel lets one at a time change it."""
    first, links = next(iter(places.items()))
    begun = time.monotonic()
    make_links(first, links[:FIRST_LINKS])
    is_slow = time.monotonic() - begun > HIGH_LATENCY_SECONDS * len(links[:FIRST_LINKS])
    places[first] = links[FIRST_LINKS:]
    width = dispatcher.width
    with ThreadPoolExecutor(width if is_slow else min(width, LOCAL_THREADS)) as pool:
        try:
            for _ in pool.map(make_links, places.keys(), places.values()):
                pass
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
