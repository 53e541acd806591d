"""Hashing files where they are: of published versions and of whitelisted directories."""

from __future__ import annotations

from collections.abc import Iterator

from gobbler.errors import Code, Fault, Refused, quoted
from gobbler.model.records import Entry, Manifest
from gobbler.rules.links import InWhitelist
from gobbler.rules.upload_plan import Plan
from gobbler.transfer.dispatch import (
    BATCHES_PER_SLOT,
    Dispatcher,
    Weight,
    batch_size,
    cut,
    dispatch,
    weigh,
)
from gobbler.transfer.hash_batch import POOLED, HashBatch, Hashed, run_hash_batch
from gobbler.transfer.pooled_work import are_small


def hash_kept(dispatcher: Dispatcher, plan: Plan) -> Manifest:
    """The entries of the symbolic links that are kept, with their targets hashed.

    The administrator answers for a whitelisted directory; everybody must be able to read what is
    below it, because ``/fetch`` serves it to everybody. Raises :class:`~gobbler.errors.Refused`
    that names a link whose target can't be read, or :class:`~gobbler.errors.Fault` if the
    filesystem failed.
    """
    entries: Manifest = {}
    for hashed in hash_listed(dispatcher, plan.kept, public=True):
        if hashed.problem:
            target = quoted(plan.kept[hashed.path].target)
            reason = (
                f"symbolic link {quoted(hashed.path)} can't be published: "
                f"its target {target} {hashed.problem}"
            )
            if hashed.failed:
                raise Fault(reason, code=Code.IO_ERROR)
            raise Refused(reason, code=Code.INVALID_SOURCE)
        entries[hashed.path] = Entry(hashed.size, hashed.md5sum)
    return entries


def hash_listed(
    dispatcher: Dispatcher, kept: dict[str, InWhitelist], *, public: bool
) -> Iterator[Hashed]:
    """Hash the targets of links into whitelisted directories, following no link below.

    If ``public``, report targets that not everybody may read.
    """
    for root in dict.fromkeys(target.root for target in kept.values()):
        files = {path: target.path for path, target in kept.items() if target.root == root}
        yield from dispatch(
            dispatcher,
            run_hash_batch,
            _hash_batches(dispatcher, root, files, public=public),
            weight=Weight.HEAVY,
        )


def hash_files(dispatcher: Dispatcher, root: str, files: dict[str, int]) -> Iterator[Hashed]:
    """Hash files (sizes in bytes by path) below the directory ``root``, in any order."""
    batches = (
        HashBatch(
            dispatcher.workspace.tree,
            root,
            {path: path for path in part},
            is_small=are_small(part.values()),
        )
        for part in dispatcher.cut(files)
    )
    dispatcher.progress.expect(len(files), sum(files.values()))
    found = dispatch(
        dispatcher, run_hash_batch, batches, weight=weigh(files), is_expected=True, pooled=POOLED
    )
    for hashed in found:
        dispatcher.progress.advance(1, hashed.size)
        yield hashed


def _hash_batches(
    dispatcher: Dispatcher, root: str, files: dict[str, str], *, public: bool
) -> Iterator[HashBatch]:
    slots = dispatcher.width * BATCHES_PER_SLOT
    for part in cut(dict.fromkeys(files, 0), batch_size(len(files), slots)):
        chosen = {path: files[path] for path in part}
        yield HashBatch(dispatcher.workspace.tree, root, chosen, public)
