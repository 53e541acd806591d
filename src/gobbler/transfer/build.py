"""Building the tree of a version: files, links, records."""

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
"""Links from which it is told how long one takes."""

LOCAL_THREADS = 2
"""Threads that make links on a filesystem that answers at once: more of them get no more done."""


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
