"""Copying files within a registry, each verified while it is copied."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from gobbler.disk.incoming import Job
from gobbler.disk.naming import naming
from gobbler.disk.opening import READ, closing
from gobbler.disk.writing import FILE_MODE
from gobbler.transfer.build import Workshop, hand_out
from gobbler.transfer.copying import StillWanted, copy_and_hash
from gobbler.transfer.execute import Watcher, cut, is_light


class Duplicate(NamedTuple):
    """A file to be copied, and what it must be: its size in bytes and MD5."""

    source: str
    size: int
    md5sum: str


@dataclass(frozen=True)
class DuplicateBatch:
    """Files to be copied, by the path that each goes to. Ends when ``job`` is gone."""

    job: str
    files: dict[str, Duplicate]


def run_duplicate_batch(batch: DuplicateBatch) -> list[str]:
    """Copy the files of a batch; the sources that are not what they must be."""
    check = StillWanted(batch.job)
    wrong = []
    for target, wanted in batch.files.items():
        check()
        try:
            source = os.open(wanted.source, READ)
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            # A link into a whitelisted directory stays one.
            os.symlink(os.readlink(wanted.source), target)
            continue
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with closing(source), closing(os.open(target, flags, FILE_MODE)) as copy:
            with naming("copy", wanted.source):
                found = copy_and_hash(source, copy, wanted.size, check)
            if found != (wanted.size, wanted.md5sum):
                wrong.append(wanted.source)
    return wrong


def duplicate_all(
    shop: Workshop, job: Job, files: dict[str, Duplicate], *, watcher: Watcher
) -> Iterator[str]:
    """Copy ``files`` (by the path that each goes to); yields sources that are not right."""
    sizes = {target: wanted.size for target, wanted in files.items()}
    batches = (
        DuplicateBatch(job.tree, {target: files[target] for target in part}) for part in cut(sizes)
    )
    light = is_light(sizes)
    yield from hand_out(shop, job, run_duplicate_batch, batches, light=light, watcher=watcher)
