"""Bringing the files of a source into the tree of a version, or finding them published."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress

from gobbler.disk.incoming import Job
from gobbler.disk.writing import DIRECTORY_MODE
from gobbler.records import Entry, Link, Manifest
from gobbler.rules.dedup import Twins
from gobbler.rules.planning import Plan
from gobbler.rules.relations import Content
from gobbler.transfer.batch import (
    Batch,
    ConfirmBatch,
    Source,
    Stamp,
    Taken,
    Twin,
    run_batch,
    run_batch_apart,
    run_confirm_batch,
)
from gobbler.transfer.build import hash_kept
from gobbler.transfer.execute import Watcher, is_light
from gobbler.transfer.salvaging import noting, salvage
from gobbler.transfer.workshop import Files, Workshop, hand_out, make_files

NOMINATED = 100_000
"""Files for which the same published ones are looked for at a time, so that memory stays flat."""


def fetch_content(
    shop: Workshop,
    job: Job,
    source: Source,
    plan: Plan,
    twins: Twins | None,
    *,
    consume: bool,
    adopt: bool,
    watcher: Watcher,
) -> tuple[Manifest, dict[str, Stamp]]:
    """Bring the files of ``plan`` into the tree of ``job``.

    Returns their entries (linked to ``twins`` where the content is the same), and if the
    source is to be consumed, the state in which each of its files was read.
    """
    watcher.expect(len(plan.copies), sum(plan.copies.values()))
    earlier = salvage(job, plan.directories, {} if adopt else plan.copies)
    _make_directories(job.tree, plan.directories)
    entries: Manifest = {}
    stamps: dict[str, Stamp] = {}
    fresh: list[str] = []
    entries.update(hash_kept(shop, job, plan, watcher=watcher))
    for taken in _taken(shop, job, source, plan, twins, earlier, adopt=adopt, watcher=watcher):
        twin = twins.same_path(taken.path, taken.size) if taken.same and twins is not None else None
        link = None if twin is None else twin[1]
        entries[taken.path] = Entry(taken.size, taken.md5sum, link)
        if consume:
            stamps[taken.path] = taken.stamp
        watcher.advance(1, taken.size)
        if link is None:
            fresh.append(taken.path)
    if twins is not None and fresh:
        entries.update(_linked(shop, job, twins, entries, fresh, watcher=watcher))
    return entries, stamps


def _taken(
    shop: Workshop,
    job: Job,
    source: Source,
    plan: Plan,
    twins: Twins | None,
    earlier: dict[str, Taken],
    *,
    adopt: bool,
    watcher: Watcher,
) -> Iterator[Taken]:
    def batches(apart: str) -> Iterator[Batch]:
        return _batches(shop, job, source, plan, twins, earlier, apart, adopt=adopt)

    files = Files(run_batch, run_batch_apart, batches, job.tree, is_light(plan.copies))
    with noting(job) as note:
        for taken in make_files(shop, job, files, watcher=watcher, is_expected=True):
            note(taken)
            yield taken


def _linked(
    shop: Workshop,
    job: Job,
    twins: Twins,
    entries: Manifest,
    fresh: list[str],
    *,
    watcher: Watcher,
) -> Manifest:
    """The linked entries of those of ``fresh`` whose content is published already."""
    links: dict[str, Link] = {}
    for start in range(0, len(fresh), NOMINATED):
        contents = {path: _content(entries[path]) for path in fresh[start : start + NOMINATED]}
        nominees = twins.nominees(set(contents.values()))
        links |= {path: nominees[c] for path, c in contents.items() if c in nominees}
    confirmed = hand_out(
        shop,
        job,
        run_confirm_batch,
        _confirm_batches(shop, job, entries, links),
        light=is_light({path: entries[path].size for path in links}),
        watcher=watcher,
    )
    linked = {}
    for path in confirmed:
        os.unlink(f"{job.tree}/{path}")
        linked[path] = Entry(entries[path].size, entries[path].md5sum, links[path])
    return linked


def _content(entry: Entry) -> Content:
    return entry.size, entry.md5sum


def _make_directories(tree: str, directories: list[str]) -> None:
    for directory in (tree, *(f"{tree}/{inner}" for inner in directories)):
        with suppress(FileExistsError):  # of an earlier attempt
            os.mkdir(directory, DIRECTORY_MODE)


def _batches(
    shop: Workshop,
    job: Job,
    source: Source,
    plan: Plan,
    twins: Twins | None,
    earlier: dict[str, Taken],
    apart: str,
    *,
    adopt: bool,
) -> Iterator[Batch]:
    for files in shop.cut(plan.copies):
        same: dict[str, Twin] = {}
        if twins is not None:
            for path, size in files.items():
                if (found := twins.same_path(path, size)) is not None:
                    md5sum, link = found
                    same[path] = Twin(md5sum, _real(shop, link))
        known = {path: earlier[path] for path in files if path in earlier} if earlier else {}
        yield Batch(source, job.tree, files, same, adopt, shop.write_out, known, apart)


def _confirm_batches(
    shop: Workshop, job: Job, entries: Manifest, links: dict[str, Link]
) -> Iterator[ConfirmBatch]:
    for files in shop.cut({path: entries[path].size for path in links}):
        yield ConfirmBatch(
            job.tree,
            {path: (size, _real(shop, links[path])) for path, size in files.items()},
        )


def _real(shop: Workshop, link: Link) -> str:
    """Where the bytes stand that ``link`` leads to."""
    return shop.registry.path(link.end.key.file(link.end.path))
