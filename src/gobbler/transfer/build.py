"""The last part of building a tree: the symbolic links and the records of a version."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor

from gobbler.fs.atomic_write import write_new
from gobbler.fs.latency import HIGH_LATENCY_SECONDS
from gobbler.fs.open import DIRECTORY, closing
from gobbler.model.names import LINKS, MANIFEST, SUMMARY, VersionKey
from gobbler.model.records import Manifest, Summary, encode
from gobbler.rules.links import links_by_directory, symlink_text
from gobbler.rules.upload_plan import Plan

MANY_LINKS = 1000
"""Links for which a second thread is worth its cost."""

FIRST_LINKS = 16
"""Links whose making is timed first."""

LOCAL_THREADS = 2
"""Threads that make links on a local filesystem, where more of them get no more done."""


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

    Many are made in up to ``width`` threads, each directory in one: the kernel lets one
    thread at a time change a directory.
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
