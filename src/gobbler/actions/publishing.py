"""Publishing a version that was built: the moment that locks are held for.

Write order, so that a crash at any point is harmless:

1. the tree (files, ``..links``, ``..manifest``, ``..summary``), the intent and the log
   entry are written into the job, then flushed;
2. under the locks, what was assumed is checked again, and the new ``..usage`` and
   ``..latest`` are written into the job;
3. **the tree is renamed into place: the commit point**; usage, latest and log follow, by
   one rename or link each. If one of these fails, all of them are put back;
4. all of that is flushed, and the job is removed.

A crash before the commit point leaves a job that is swept. A crash after it leaves a job
whose tree is gone and whose intent tells recovery what to finish.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from gobbler.actions.accounting import becomes_latest, usage_lock
from gobbler.actions.logs import publish_log
from gobbler.actions.site import Site
from gobbler.disk.flushing import flush_filesystem
from gobbler.disk.incoming import Job
from gobbler.disk.locks import locked
from gobbler.disk.writing import DIRECTORY_MODE, replace, write_new
from gobbler.errors import Missing, quoted
from gobbler.names import LATEST, LOCK, LOCK_NEWDIR, PERMISSIONS, VersionKey, project_usage
from gobbler.records import Intent, Latest, LogEntry, Permissions, Usage, encode
from gobbler.registry import Registry


@dataclass(frozen=True)
class Publication:
    """A finished tree and what is to become of it.

    ``usage``: bytes that it adds. ``finish``: its ``upload_finish``. ``owner``:
    permissions that come with a new asset. ``check``: called under the locks, right
    before the commit; raises to prevent it.
    """

    key: VersionKey
    usage: int
    finish: str
    on_probation: bool
    owner: Permissions | None
    check: Callable[[], None]


def prepare(site: Site, job: Job, intent: Intent) -> None:
    """Write what recovery needs, and flush all that was built."""
    write_new(job.intent, encode(intent))
    if not intent.on_probation:
        # Most often right; it is written again under the locks where it is not.
        write_new(job.log, encode(_log_entry(intent.key, latest=True)))
    flush_filesystem(job.tree, site.durability)


def publish(site: Site, job: Job, publication: Publication) -> None:
    """Make the version appear. It is on disk, whole, when this returns."""
    registry, key = site.registry, publication.key
    with (
        locked(registry.path(LOCK), exclusive=False),
        _project_lock(registry, key.project),
    ):
        if not _publish_with_asset(registry, job, publication):
            with locked(registry.path(f"{key.of_asset.path}/{LOCK}"), exclusive=True):
                publication.check()
                _commit(registry, job, publication, job.tree, key.path)
    flush_filesystem(registry.root, site.durability)


@contextmanager
def _project_lock(registry: Registry, project: str) -> Iterator[None]:
    if not registry.has(project):
        raise Missing(f"project {quoted(project)} does not exist any more")
    with locked(registry.path(f"{project}/{LOCK}"), exclusive=False):
        yield


def _publish_with_asset(registry: Registry, job: Job, publication: Publication) -> bool:
    """Publish the version together with its asset, if that does not exist yet."""
    key = publication.key
    if registry.has(key.of_asset.path):
        return False
    with locked(registry.path(f"{key.project}/{LOCK_NEWDIR}"), exclusive=True):
        if registry.has(key.of_asset.path):
            return False
        publication.check()
        # The asset is built around the version, so that the one rename shows both.
        asset = f"{job.path}/asset"
        os.mkdir(asset, DIRECTORY_MODE)
        if publication.owner is not None:
            write_new(f"{asset}/{PERMISSIONS}", encode(publication.owner))
        os.rename(job.tree, f"{asset}/{key.version}")
        _commit(registry, job, publication, asset, key.of_asset.path)
    return True


def _commit(registry: Registry, job: Job, publication: Publication, tree: str, place: str) -> None:
    key = publication.key
    latest = not publication.on_probation and becomes_latest(registry, key, publication.finish)
    if not latest and not publication.on_probation:
        replace(job.log, encode(_log_entry(key, latest=False)), flush=True)
    usage = registry.path(project_usage(key.project))
    # Usage is locked around the rename, so that whoever counts it anew sees either none
    # or both of the two changes.
    with locked(usage_lock(registry, key.project), exclusive=True), _Undo(job) as undo:
        total = registry.usage(key.project).total + publication.usage
        write_new(f"{job.path}/usage", encode(Usage(total)))
        if latest and tree == job.tree:
            write_new(f"{job.path}/latest", encode(Latest(key.version)))
        elif latest:
            write_new(f"{tree}/{LATEST}", encode(Latest(key.version)))
        undo.rename(tree, registry.path(place))
        undo.replace(f"{job.path}/usage", usage)
        if latest and tree == job.tree:
            undo.replace(f"{job.path}/latest", registry.path(key.of_asset.latest))
        if not publication.on_probation:
            publish_log(registry, job)


class _Undo:
    """Renames that are taken back, in reverse, when the block fails.

    Should taking back fail as well, the job is left for recovery to complete.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._stack = ExitStack()

    def __enter__(self) -> _Undo:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None:
            self._stack.pop_all()
            return
        try:
            self._stack.close()
        except OSError:
            self._job.unfinished = True

    def rename(self, old: str, new: str) -> None:
        """Rename ``old`` to ``new``, where nothing stands."""
        os.rename(old, new)
        self._stack.callback(os.rename, new, old)

    def replace(self, old: str, new: str) -> None:
        """Rename ``old`` over ``new``, keeping what stood there for the way back."""
        former = f"{old}.former"
        try:
            os.link(new, former)
        except FileNotFoundError:
            os.rename(old, new)
            self._stack.callback(os.unlink, new)
        else:
            os.rename(old, new)
            self._stack.callback(os.rename, former, new)


def _log_entry(key: VersionKey, *, latest: bool) -> LogEntry:
    return LogEntry(
        type="add-version",
        project=key.project,
        asset=key.asset,
        version=key.version,
        latest=latest,
    )
