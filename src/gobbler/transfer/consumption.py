"""Consuming a source whose files a published version has: they are removed, by many hands."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping
from itertools import islice

from gobbler.errors import GobblerError, quoted
from gobbler.fs.fingerprint import Fingerprint
from gobbler.model.progress import NoProgress
from gobbler.registry.consume import consume_source, detach_or_keep
from gobbler.registry.workspace import Workspace
from gobbler.transfer.batch_run import run_all
from gobbler.transfer.consume_batch import POOLED, ConsumeBatch, run_consume_batch
from gobbler.transfer.dispatch import Dispatcher, are_many, pooled_batch_size
from gobbler.transfer.executors import pool_of
from gobbler.transfer.staged_source import StagedSource

logger = logging.getLogger(__name__)


class _Renewing:
    """The token of work that is not cancelled any more, but must show signs of life."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def check(self) -> None:
        """Renew the lease of the workspace."""
        self._workspace.renew()


def consume(
    dispatcher: Dispatcher,
    version: str,
    source: StagedSource,
    fingerprints: Mapping[str, Fingerprint],
    adopted: Collection[str],
) -> None:
    """Remove the files of a source that was published as the version at the path ``version``.

    See :func:`gobbler.registry.consume.consume_source`; a local pool removes many files.
    """
    workspace, pool = dispatcher.workspace, pool_of(dispatcher.executor)
    if pool is None or not are_many(len(fingerprints)):
        opened = source.opened()
        consume_source(version, workspace, source.name, opened, fingerprints, adopted=adopted)
        return
    most = pooled_batch_size(len(fingerprints), pool)
    shared: list[str] = []
    try:
        for paths in run_all(
            dispatcher.executor,
            dispatcher.width,
            run_consume_batch,
            _batches(version, source, fingerprints, frozenset(adopted), most),
            progress=NoProgress(),
            cancel=_Renewing(workspace),
            give_up=_nothing,
            pooled=POOLED,
            pool=pool,
        ):
            shared += paths
    except (OSError, GobblerError, RuntimeError):  # an executor that was shut down, too
        # The version is published. What still has a name in the source must be separated.
        logger.exception("could not remove all files of the source %s", quoted(source.name))
        shared = list(adopted)
    detach_or_keep(version, workspace, shared)


def _nothing() -> None:
    """Batches that run end by themselves."""


def _batches(
    version: str,
    source: StagedSource,
    fingerprints: Mapping[str, Fingerprint],
    adopted: frozenset[str],
    most: int,
) -> Iterator[ConsumeBatch]:
    files = iter(fingerprints.items())
    while part := dict(islice(files, most)):
        plain = {path: (each.inode, each.size, each.mtime_ns) for path, each in part.items()}
        yield ConsumeBatch(source, version, plain, [path for path in part if path in adopted])
