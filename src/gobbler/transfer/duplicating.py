"""Copying files within a registry, each verified while it is copied."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from gobbler.disk.incoming import Job
from gobbler.disk.naming import naming
from gobbler.disk.opening import READ, closing, open_beneath, open_directory
from gobbler.disk.writing import FILE_MODE
from gobbler.errors import Fault, quoted
from gobbler.rules.links import InWhitelist, Places, absolute_target, locate
from gobbler.transfer.apart import Made, Own, own_directory
from gobbler.transfer.copying import Check, StillWanted, copy_and_hash
from gobbler.transfer.execute import Meter, Watcher, is_light
from gobbler.transfer.workshop import Files, Workshop, make_files


class Duplicate(NamedTuple):
    """A file to be copied, and what it must be: its size in bytes and MD5."""

    source: str
    size: int
    md5sum: str


@dataclass(frozen=True)
class DuplicateBatch:
    """Files to be copied, by the name that each gets in the directory ``top``.

    Ends when ``job`` is gone. A link into one of the directories of ``whitelist`` stands for
    the file it leads to. ``apart``: see :mod:`gobbler.transfer.apart`.
    """

    job: str
    top: str
    files: dict[str, Duplicate]
    whitelist: tuple[str, ...]
    apart: str


def run_duplicate_batch(batch: DuplicateBatch, meter: Meter) -> list[str]:
    """Copy the files of a batch; the sources that are not what they must be."""
    return _run(batch, None, StillWanted(batch.job, meter))


def run_duplicate_batch_apart(batch: DuplicateBatch, meter: Meter) -> tuple[list[str], Made]:
    """The same, with the copies in a directory of this run."""
    with own_directory(batch.apart, flush=True) as own:
        wrong = _run(batch, own, StillWanted(own.path, meter))
    return wrong, own.made()


def _run(batch: DuplicateBatch, own: Own | None, check: Check) -> list[str]:
    wrong = []
    for target, wanted in batch.files.items():
        check(0)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        parent, name = (None, f"{batch.top}/{target}") if own is None else own.place(target)
        with (
            closing(_open(wanted.source, batch.whitelist)) as source,
            closing(os.open(name, flags, FILE_MODE, dir_fd=parent)) as copy,
        ):
            if own is not None:
                os.fchmod(copy, FILE_MODE)  # the umask there is not the service's
            with naming("copy", wanted.source):
                found = copy_and_hash(source, copy, wanted.size, check)
            if found != (wanted.size, wanted.md5sum):
                wrong.append(wanted.source)
    return wrong


def _open(path: str, whitelist: tuple[str, ...]) -> int:
    try:
        return os.open(path, READ)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
    text = os.readlink(path)
    places = Places(source=(), registry=(), whitelist=whitelist)
    target = locate(absolute_target(os.path.dirname(path), text), places)
    if not isinstance(target, InWhitelist):
        raise Fault(
            f"{quoted(path)} can't be copied: it links to {quoted(text)}, which is in no "
            "whitelisted directory",
            hint="Whitelist the directory that it leads into, or validate the version.",
        )
    with naming("read", path), closing(open_directory(target.root)) as root:
        return open_beneath(root, target.path, os.O_RDONLY | os.O_NONBLOCK)


def duplicate_all(
    shop: Workshop,
    job: Job,
    files: dict[str, Duplicate],
    whitelist: tuple[str, ...],
    *,
    watcher: Watcher,
) -> Iterator[str]:
    """Copy ``files`` (by the name each gets in the job); yields sources that are not right."""
    sizes = {target: wanted.size for target, wanted in files.items()}

    def batches(apart: str) -> Iterator[DuplicateBatch]:
        for part in shop.cut(sizes):
            chosen = {target: files[target] for target in part}
            yield DuplicateBatch(job.tree, job.path, chosen, whitelist, apart)

    work = Files(run_duplicate_batch, run_duplicate_batch_apart, batches, job.path, is_light(sizes))
    yield from make_files(shop, job, work, watcher=watcher)
