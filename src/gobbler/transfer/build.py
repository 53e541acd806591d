"""Building the tree of a version: files, links, records."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from gobbler.errors import Code, Fault, Refused, quoted
from gobbler.fs.atomic_write import write_new
from gobbler.fs.latency import HIGH_LATENCY_SECONDS
from gobbler.fs.open import DIRECTORY, closing
from gobbler.model.names import LINKS, MANIFEST, SUMMARY, VersionKey
from gobbler.model.records import Entry, Manifest, Summary, encode
from gobbler.rules.links import InWhitelist, links_by_directory, symlink_text
from gobbler.rules.upload_plan import Plan
from gobbler.transfer.dispatch import Dispatcher, dispatch
from gobbler.transfer.executor import batch_size, cut, is_light
from gobbler.transfer.hash_batch import HashBatch, Hashed, run_hash_batch

MANY_LINKS = 1000
"""Links for which a second thread is worth its cost."""

FIRST_LINKS = 16
"""Links from which it is told how long one takes."""

LOCAL_THREADS = 2
"""Threads that make links on a filesystem that answers at once: more of them get no more done."""


def hash_kept(dispatcher: Dispatcher, plan: Plan) -> Manifest:
    """The entries of the symbolic links that are kept; their targets are hashed.

    Raises :class:`~gobbler.errors.Refused` that names the link whose target can't be read,
    or :class:`~gobbler.errors.Fault` if that is the fault of the filesystem.
    """
    entries: Manifest = {}
    for hashed in hash_listed(dispatcher, plan.kept):
        if hashed.problem:
            target = quoted(plan.kept[hashed.path].target)
            reason = (
                f"symbolic link {quoted(hashed.path)} can't be taken: "
                f"its target {target} {hashed.problem}"
            )
            if hashed.failed:
                raise Fault(reason, code=Code.IO_ERROR)
            raise Refused(reason, code=Code.INVALID_SOURCE)
        entries[hashed.path] = Entry(hashed.size, hashed.md5sum)
    return entries


def hash_listed(dispatcher: Dispatcher, kept: dict[str, InWhitelist]) -> Iterator[Hashed]:
    """Hash the targets of links into whitelisted directories, following no link below."""
    for root in dict.fromkeys(target.root for target in kept.values()):
        files = {path: target.path for path, target in kept.items() if target.root == root}
        yield from dispatch(
            dispatcher, run_hash_batch, _hash_batches(dispatcher, root, files), light=False
        )


def hash_files(dispatcher: Dispatcher, root: str, files: dict[str, int]) -> Iterator[Hashed]:
    """Hash files (sizes in bytes by path) below the directory ``root``, in any order."""
    batches = (
        HashBatch(dispatcher.workspace.tree, root, {p: p for p in part})
        for part in dispatcher.cut(files)
    )
    light = is_light(files)
    dispatcher.progress.expect(len(files), sum(files.values()))
    for hashed in dispatch(dispatcher, run_hash_batch, batches, light=light, is_expected=True):
        dispatcher.progress.advance(1, hashed.size)
        yield hashed


def _hash_batches(dispatcher: Dispatcher, root: str, files: dict[str, str]) -> Iterator[HashBatch]:
    for part in cut(dict.fromkeys(files, 0), batch_size(len(files), dispatcher.width)):
        yield HashBatch(dispatcher.workspace.tree, root, {path: files[path] for path in part})


def make_symlinks(tree: str, key: VersionKey, plan: Plan, manifest: Manifest, width: int) -> None:
    """Make the symbolic link of every linked entry and every kept one.

    Up to ``width`` threads make many of them: each directory is for one thread, as the kernel
    has but one at a time change a directory.
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
    """Make links, each of a name and a text, in the directory ``place``."""
    with closing(os.open(place, DIRECTORY)) as directory:
        for name, text in links:
            try:
                os.symlink(text, name, dir_fd=directory)
            except OSError as error:
                error.filename2 = f"{place}/{name}"
                raise


def write_records(tree: str, manifest: Manifest, summary: Summary) -> None:
    """Write ``..links``, then ``..manifest``, then ``..summary``."""
    for directory, links in links_by_directory(manifest).items():
        write_new(f"{tree}/{directory}/{LINKS}" if directory else f"{tree}/{LINKS}", encode(links))
    write_new(f"{tree}/{MANIFEST}", encode(manifest))
    write_new(f"{tree}/{SUMMARY}", encode(summary))
