"""A batch of symbolic links, made in the tree of a workspace."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from gobbler.fs.open import DIRECTORY, closing
from gobbler.model.progress import Progress
from gobbler.transfer.batch import BatchProgress
from gobbler.transfer.pooled_work import PooledWork

NewLink = tuple[str, str]
"""The name and the text of a symbolic link."""


@dataclass(frozen=True)
class LinkBatch:
    """Symbolic links to make in ``tree``, by the path of their directory in it."""

    tree: str
    links: dict[str, list[NewLink]]


def make_links(place: str, links: Iterable[NewLink]) -> None:
    """Make ``links`` in the directory at the path ``place``."""
    with closing(os.open(place, DIRECTORY)) as directory:
        for name, text in links:
            try:
                os.symlink(text, name, dir_fd=directory)
            except OSError as error:
                error.filename2 = f"{place}/{name}"
                raise


def run_link_batch(batch: LinkBatch, progress: Progress) -> list[int]:
    """Make the links of a batch; returns how many there are."""
    reported = BatchProgress(batch.tree, progress)
    for directory, links in batch.links.items():
        reported.check()
        make_links(f"{batch.tree}/{directory}" if directory else batch.tree, links)
    return [sum(map(len, batch.links.values()))]


def _run_again(batch: LinkBatch, progress: Progress) -> list[int]:
    """Make the links of a batch of which a process that has died may have made some."""
    for directory, links in batch.links.items():
        for name, _ in links:
            with suppress(FileNotFoundError):
                os.unlink(f"{batch.tree}/{directory}/{name}")
    return run_link_batch(batch, progress)


POOLED: PooledWork[LinkBatch, list[int]] = PooledWork(
    lambda _: True, run_link_batch, lambda made: made, _run_again
)


def cut_links(tree: str, links: Iterable[tuple[str, NewLink]], most: int) -> Iterator[LinkBatch]:
    """Cut ``links``, each with its directory, into batches of at most ``most``."""
    batch: dict[str, list[NewLink]] = {}
    count = 0
    for directory, link in links:
        batch.setdefault(directory, []).append(link)
        count += 1
        if count == most:
            yield LinkBatch(tree, batch)
            batch, count = {}, 0
    if batch:
        yield LinkBatch(tree, batch)
