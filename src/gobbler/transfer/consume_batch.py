"""A batch of files that a published version has consumed: they leave its source."""

from __future__ import annotations

import os
from dataclasses import dataclass

from gobbler.fs.fingerprint import Fingerprint
from gobbler.model.progress import Progress
from gobbler.registry.consume import remove_sources
from gobbler.transfer.pooled_work import PooledWork
from gobbler.transfer.staged_source import StagedSource


@dataclass(frozen=True)
class ConsumeBatch:
    """Files of ``source`` to remove unless they have changed: fingerprints by path.

    ``version``: the path of the published version. ``adopted``: files that were hard-linked.
    """

    source: StagedSource
    version: str
    files: dict[str, tuple[int, int, int]]
    adopted: list[str]


def run_consume_batch(batch: ConsumeBatch, progress: Progress) -> list[str]:
    """Remove the files of a batch; returns the adopted ones that still have another name."""
    del progress
    files = {path: Fingerprint._make(each) for path, each in batch.files.items()}
    remove_sources(batch.source.name, batch.source.opened(), files)
    return [path for path in batch.adopted if os.lstat(f"{batch.version}/{path}").st_nlink > 1]


POOLED: PooledWork[ConsumeBatch, list[str]] = PooledWork(
    lambda _: True, run_consume_batch, lambda paths: paths, run_consume_batch
)
