"""Building the tree of a version: files, links, records."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TypeVar

from gobbler.disk.incoming import Job
from gobbler.disk.writing import write_new
from gobbler.errors import Fault, Refused, quoted
from gobbler.names import LINKS, MANIFEST, SUMMARY, VersionKey
from gobbler.records import Entry, Manifest, Summary, encode
from gobbler.registry import Registry
from gobbler.rules.links import InWhitelist, links_by_directory, symlink_text
from gobbler.rules.planning import Plan
from gobbler.transfer.execute import Meter, Watcher, cut, is_light, run_all, run_here
from gobbler.transfer.hashing import HashBatch, Hashed, run_hash_batch

B = TypeVar("B")
R = TypeVar("R")


@dataclass(frozen=True)
class Workshop:
    """Where and with what trees are built: ``width`` batches at a time on ``executor``.

    ``write_out``: what is written will be flushed, so large files had better go to the
    disk as they come.
    """

    registry: Registry
    executor: Executor
    width: int
    write_out: bool


def hash_kept(shop: Workshop, job: Job, plan: Plan, *, watcher: Watcher) -> Manifest:
    """The entries of the symbolic links that are kept; their targets are hashed.

    Raises :class:`~gobbler.errors.Refused` that names the link whose target can't be read,
    or :class:`~gobbler.errors.Fault` if that is the fault of the filesystem.
    """
    entries: Manifest = {}
    for hashed in hash_listed(shop, job, plan.kept, watcher=watcher):
        if hashed.problem:
            target = quoted(plan.kept[hashed.path].target)
            reason = (
                f"symbolic link {quoted(hashed.path)} can't be taken: "
                f"its target {target} {hashed.problem}"
            )
            raise Fault(reason) if hashed.failed else Refused(reason)
        entries[hashed.path] = Entry(hashed.size, hashed.md5sum)
    return entries


def hash_listed(
    shop: Workshop, job: Job, kept: dict[str, InWhitelist], *, watcher: Watcher
) -> Iterator[Hashed]:
    """Hash the targets of links into whitelisted directories, following no link below."""
    for root in dict.fromkeys(target.root for target in kept.values()):
        files = {path: target.path for path, target in kept.items() if target.root == root}
        yield from hand_out(
            shop, job, run_hash_batch, _hash_batches(job, root, files), light=False, watcher=watcher
        )


def hash_files(
    shop: Workshop, job: Job, root: str, files: dict[str, int], *, watcher: Watcher
) -> Iterator[Hashed]:
    """Hash files (sizes in bytes by path) below the directory ``root``, in any order."""
    batches = (HashBatch(job.tree, root, {p: p for p in part}) for part in cut(files))
    light = is_light(files)
    watcher.expect(len(files), sum(files.values()))
    for hashed in hand_out(
        shop, job, run_hash_batch, batches, light=light, watcher=watcher, is_expected=True
    ):
        watcher.advance(1, hashed.size)
        yield hashed


def _hash_batches(job: Job, root: str, files: dict[str, str]) -> Iterator[HashBatch]:
    for part in cut(dict.fromkeys(files, 0)):
        yield HashBatch(job.tree, root, {path: files[path] for path in part})


def hand_out(
    shop: Workshop,
    job: Job,
    function: Callable[[B, Meter], list[R]],
    batches: Iterator[B],
    *,
    light: bool,
    watcher: Watcher,
    is_expected: bool = False,
) -> Iterator[R]:
    """Run ``function`` on the batches of a job; their results, in any order.

    ``is_expected``: ``watcher`` has been told to expect this work. Batches must end when
    the job's tree is gone. ``light`` work is done here and now, so
    that a small job never waits for the large ones that occupy the executor.
    """
    watcher = _LivingJob(job, watcher, is_expected)
    if light:
        results = run_here(function, batches, watcher=watcher)
    else:
        results = run_all(
            shop.executor,
            shop.width,
            function,
            batches,
            watcher=watcher,
            give_up=lambda: shutil.rmtree(job.tree, ignore_errors=True),
        )
    for result in results:
        yield from result


@dataclass(frozen=True)
class _LivingJob:
    """Shows that the job goes on whenever it is asked for, for one batch may take hours."""

    job: Job
    watcher: Watcher
    is_expected: bool

    def expect(self, files: int, size: int) -> None:
        self.watcher.expect(files, size)

    def advance(self, files: int, size: int) -> None:
        self.watcher.advance(files, size)

    def under_way(self, files: int, size: int) -> None:
        if self.is_expected:
            self.watcher.under_way(files, size)

    def check(self) -> None:
        self.job.sign_of_life()
        self.watcher.check()


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
