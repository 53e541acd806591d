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
from gobbler.fs.open import DIRECTORY, READ, closing
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
    Batch,
    BatchProgress,
    DedupCandidate,
    IngestedFile,
    is_same,
    run_batch,
    run_batch_in_run_directory,
)
from gobbler.transfer.dispatch import Dispatcher, FileWork, dispatch, is_light, make_files
from gobbler.transfer.hash_files import hash_kept
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
    for ingested in _ingested(dispatcher, source, plan, candidates, earlier, adopt=adopt):
        candidate = (
            candidates.at_path(ingested.path, ingested.size)
            if ingested.same and candidates is not None
            else None
        )
        link = None if candidate is None else candidate[1]
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
    candidates: DedupCandidates | None,
    earlier: Earlier,
    *,
    adopt: bool,
) -> Iterator[IngestedFile]:
    def batches(run_directories_path: str) -> Iterator[Batch]:
        return _batches(
            dispatcher,
            source,
            plan,
            candidates,
            earlier,
            run_directories_path,
            adopt=adopt,
        )

    files = FileWork(
        run_batch,
        run_batch_in_run_directory,
        batches,
        dispatcher.workspace.tree,
        is_light(plan.copies),
    )
    with resume_notes(dispatcher.workspace, earlier) as note:
        for ingested in make_files(dispatcher, files, is_expected=True):
            note(ingested)
            yield ingested
    remove_rest(earlier)


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
        light=is_light({path: entries[path].size for path in links}),
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
    candidates: DedupCandidates | None,
    earlier: Earlier,
    run_directories_path: str,
    *,
    adopt: bool,
) -> Iterator[Batch]:
    levels = plan.link_levels
    for files in dispatcher.cut(plan.copies):
        same: dict[str, DedupCandidate] = {}
        if candidates is not None:
            for path, size in files.items():
                if (found := candidates.at_path(path, size)) is None:
                    continue
                md5sum, link = found
                if fits_in_text(path, link, levels=levels):
                    same[path] = DedupCandidate(md5sum, _real(dispatcher, link))
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
    tree: str, key: VersionKey, plan: Plan, manifest: Manifest, summary: Summary, *, width: int
) -> None:
    """Complete the ``tree`` of version ``key``: symbolic links, then the records.

    Up to ``width`` threads make the links. ``..links`` come first, ``..summary`` last.
    """
    make_symlinks(tree, key, plan, manifest, width)
    for directory, links in links_by_directory(manifest).items():
        write_new(f"{tree}/{directory}/{LINKS}" if directory else f"{tree}/{LINKS}", encode(links))
    write_new(f"{tree}/{MANIFEST}", encode(manifest))
    write_new(f"{tree}/{SUMMARY}", encode(summary))


def make_symlinks(tree: str, key: VersionKey, plan: Plan, manifest: Manifest, width: int) -> None:
    """Make the symbolic link of every linked entry and of every kept one.

    Uses up to ``width`` threads for many links, one for each directory: the kernel lets one thread
    at a time change a directory.
    """
    texts: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for path, entry in manifest.items():
        if entry.link is not None:
            directory, _, name = path.rpartition("/")
            texts[directory].append((name, symlink_text(key, path, entry.link)))
    for path, target in plan.kept.items():
        directory, _, name = path.rpartition("/")
        texts[directory].append((name, target.target))
    places = {f"{tree}/{inner}" if inner else tree: links for inner, links in texts.items()}
    if len(places) == 1 or sum(map(len, texts.values())) < MANY_LINKS:
        for place, links in places.items():
            _make_symlinks(place, links)
        return
    first, links = next(iter(places.items()))
    begun = time.monotonic()
    _make_symlinks(first, links[:FIRST_LINKS])
    is_slow = time.monotonic() - begun > HIGH_LATENCY_SECONDS * len(links[:FIRST_LINKS])
    places[first] = links[FIRST_LINKS:]
    with ThreadPoolExecutor(width if is_slow else min(width, LOCAL_THREADS)) as pool:
        try:
            for _ in pool.map(_make_symlinks, places.keys(), places.values()):
                pass
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _make_symlinks(place: str, links: list[tuple[str, str]]) -> None:
    with closing(os.open(place, DIRECTORY)) as directory:
        for name, text in links:
            try:
                os.symlink(text, name, dir_fd=directory)
            except OSError as error:
                error.filename2 = f"{place}/{name}"
                raise
