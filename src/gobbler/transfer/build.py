"""Building the tree of a version: files, links, records."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TypeVar

from gobbler.disk.incoming import Job
from gobbler.disk.writing import DIRECTORY_MODE, write_new
from gobbler.names import LINKS, MANIFEST, SUMMARY, VersionKey
from gobbler.records import Entry, Manifest, Summary, encode
from gobbler.registry import Registry
from gobbler.rules.dedup import Twins
from gobbler.rules.links import links_by_directory, symlink_text
from gobbler.rules.planning import Plan
from gobbler.transfer.batch import (
    Batch,
    ConfirmBatch,
    KeptBatch,
    Source,
    Stamp,
    Twin,
    run_batch,
    run_confirm_batch,
    run_kept_batch,
)
from gobbler.transfer.execute import Watcher, cut, run_all

B = TypeVar("B")
R = TypeVar("R")


@dataclass(frozen=True)
class Workshop:
    """Where and with what trees are built: ``width`` batches at a time on ``executor``."""

    registry: Registry
    executor: Executor
    width: int


def fetch_content(
    shop: Workshop,
    job: Job,
    source: Source,
    plan: Plan,
    twins: Twins | None,
    *,
    adopt: bool,
    watcher: Watcher,
) -> tuple[Manifest, dict[str, Stamp]]:
    """Bring the files of ``plan`` into the tree of ``job``.

    Returns their entries (linked to ``twins`` where the content is the same), and for
    each file of the source the state in which it was read.
    """
    _make_directories(job.tree, plan.directories)
    hand_out = _HandOut(shop, job, watcher)
    entries: Manifest = {}
    stamps: dict[str, Stamp] = {}
    renamed: dict[str, str] = {}
    for taken in hand_out.all(run_kept_batch, _kept_batches(job, plan)):
        entries[taken.path] = Entry(taken.size, taken.md5sum)
    for taken in hand_out.all(run_batch, _batches(shop, job, source, plan, twins, adopt=adopt)):
        link = twins.link(taken.path) if taken.same and twins is not None else None
        entries[taken.path] = Entry(taken.size, taken.md5sum, link)
        stamps[taken.path] = taken.stamp
        watcher.advance(1, taken.size)
        if link is None and twins is not None:
            nominee = twins.of_size(taken.size).get(taken.md5sum)
            if nominee is not None:
                renamed[taken.path] = nominee
    if twins is not None and renamed:
        for path in hand_out.all(
            run_confirm_batch, _confirm_batches(shop, job, twins, entries, renamed)
        ):
            entries[path] = Entry(
                entries[path].size, entries[path].md5sum, twins.link(renamed[path])
            )
    return entries, stamps


@dataclass(frozen=True)
class _HandOut:
    """Runs batches of one job."""

    shop: Workshop
    job: Job
    watcher: Watcher

    def all(self, function: Callable[[B], list[R]], batches: Iterator[B]) -> Iterator[R]:
        for results in run_all(
            self.shop.executor,
            self.shop.width,
            function,
            batches,
            watcher=self.watcher,
            # Running batches end when the tree that they work on is gone.
            give_up=lambda: shutil.rmtree(self.job.tree, ignore_errors=True),
        ):
            self.job.sign_of_life()
            yield from results


def _make_directories(tree: str, directories: list[str]) -> None:
    os.mkdir(tree, DIRECTORY_MODE)
    for directory in directories:
        os.mkdir(f"{tree}/{directory}", DIRECTORY_MODE)


def _kept_batches(job: Job, plan: Plan) -> Iterator[KeptBatch]:
    for files in cut(dict.fromkeys(plan.kept, 0)):
        targets = ((path, plan.kept[path]) for path in files)
        yield KeptBatch(job.tree, [(path, kept.root, kept.path) for path, kept in targets])


def _batches(
    shop: Workshop, job: Job, source: Source, plan: Plan, twins: Twins | None, *, adopt: bool
) -> Iterator[Batch]:
    for files in cut(plan.copies):
        same: dict[str, Twin] = {}
        if twins is not None:
            for path, size in files.items():
                if (md5sum := twins.same_path(path, size)) is not None:
                    same[path] = Twin(md5sum, shop.registry.path(twins.real_path(path)))
        yield Batch(source, job.tree, files, same, adopt)


def _confirm_batches(
    shop: Workshop, job: Job, twins: Twins, entries: Manifest, renamed: dict[str, str]
) -> Iterator[ConfirmBatch]:
    for files in cut({path: entries[path].size for path in renamed}):
        yield ConfirmBatch(
            job.tree,
            {
                path: (size, shop.registry.path(twins.real_path(renamed[path])))
                for path, size in files.items()
            },
        )


def make_symlinks(tree: str, key: VersionKey, plan: Plan, manifest: Manifest) -> None:
    """Make the symbolic link of every linked entry and every kept one."""
    for path, entry in manifest.items():
        if entry.link is not None:
            os.symlink(symlink_text(key, path, entry.link), f"{tree}/{path}")
    for path, target in plan.kept.items():
        os.symlink(target.target, f"{tree}/{path}")


def write_records(tree: str, manifest: Manifest, summary: Summary) -> None:
    """Write ``..links``, then ``..manifest``, then ``..summary``."""
    for directory, links in links_by_directory(manifest).items():
        write_new(f"{tree}/{directory}/{LINKS}" if directory else f"{tree}/{LINKS}", encode(links))
    write_new(f"{tree}/{MANIFEST}", encode(manifest))
    write_new(f"{tree}/{SUMMARY}", encode(summary))
