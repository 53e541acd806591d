"""Building the tree of a version: files, links, records."""

from __future__ import annotations

import os
from collections.abc import Iterator

from gobbler.disk.incoming import Job
from gobbler.disk.writing import write_new
from gobbler.errors import Fault, Refused, quoted
from gobbler.names import LINKS, MANIFEST, SUMMARY, VersionKey
from gobbler.records import Entry, Manifest, Summary, encode
from gobbler.rules.links import InWhitelist, links_by_directory, symlink_text
from gobbler.rules.planning import Plan
from gobbler.transfer.execute import Watcher, batch_size, cut, is_light
from gobbler.transfer.hashing import HashBatch, Hashed, run_hash_batch
from gobbler.transfer.workshop import Workshop, hand_out


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
            shop,
            job,
            run_hash_batch,
            _hash_batches(shop, job, root, files),
            light=False,
            watcher=watcher,
        )


def hash_files(
    shop: Workshop, job: Job, root: str, files: dict[str, int], *, watcher: Watcher
) -> Iterator[Hashed]:
    """Hash files (sizes in bytes by path) below the directory ``root``, in any order."""
    batches = (HashBatch(job.tree, root, {p: p for p in part}) for part in shop.cut(files))
    light = is_light(files)
    watcher.expect(len(files), sum(files.values()))
    for hashed in hand_out(
        shop, job, run_hash_batch, batches, light=light, watcher=watcher, is_expected=True
    ):
        watcher.advance(1, hashed.size)
        yield hashed


def _hash_batches(
    shop: Workshop, job: Job, root: str, files: dict[str, str]
) -> Iterator[HashBatch]:
    for part in cut(dict.fromkeys(files, 0), batch_size(len(files), shop.width)):
        yield HashBatch(job.tree, root, {path: files[path] for path in part})


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
