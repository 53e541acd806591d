"""What is being built: ``registry/..incoming/``, and who is still building it.

::

    ..incoming/
        {job}.lock      the presence of the builder
        {job}.done      the answer of a task whose change was made
        {name}.draft    one record: see :mod:`gobbler.registry.draft`
        {job}/
            tree/       the version (or project) that is being built
            intent      what must be finished once tree/ has been renamed into place
            log         the log entry; linked into ..logs/ after the rename

The rename of ``tree`` out of the job is the commit point. A job is abandoned when its
builder is gone.

A *task* is a job that outlives its builder: it has a name that was given to it before,
what a builder that died has left of it stays, and the next builder goes on from there.


``..incoming/{job}/intent``: what is to be finished once a change has begun.
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from msgspec import Struct

from gobbler.errors import Code, Fault
from gobbler.fs.atomic_write import DIRECTORY_MODE, remove_quietly
from gobbler.fs.lease import Lease, acquire, take_over
from gobbler.fs.open import exists
from gobbler.fs.removal import remove_tree
from gobbler.model.names import INCOMING, VersionKey

logger = logging.getLogger(__name__)

LOCK_SUFFIX = ".lock"
DONE_SUFFIX = ".done"
RESUMABLE_SUFFIX = "-task"

KEPT_FOR = 8 * 24 * 3600.0
"""Seconds after which nobody will go on with a task, or ask for its answer."""


def new_workspace_name() -> str:
    """A name for a task."""
    return unique_name() + RESUMABLE_SUFFIX


def unique_name() -> str:
    """A name that nobody else has."""
    return f"{time.time_ns():x}-{secrets.token_hex(4)}"


def _is_old(name: str) -> bool:
    try:
        return time.time_ns() - int(name.partition("-")[0], 16) > KEPT_FOR * 1e9
    except ValueError:
        return True


class WorkspaceInUse(Fault):
    """Another process works in the workspace, or did so a moment ago."""

    default_code = Code.WORKSPACE_IN_USE


class Workspace:
    """One piece of work below ``..incoming``; made by :func:`new_workspace`.

    ``task``: its name if it is a task, else empty. ``unfinished`` is set when something was
    published and could neither be completed nor be put back, or when it will be gone on
    with: the job then stays, for the next sweep or builder.
    """

    def __init__(self, path: str, lease: Lease) -> None:
        self.path = path
        self.tree = f"{path}/tree"
        self.intent = f"{path}/intent"
        self.log = f"{path}/log"
        name = os.path.basename(path)
        self.task = name if name.endswith(RESUMABLE_SUFFIX) else ""
        self.unfinished = False
        self.lease = lease

    def renew(self) -> None:
        """Show services on other hosts, now and then, that this job goes on."""
        self.lease.renew()

    @property
    def is_resumable(self) -> bool:
        """Whether somebody may go on with it."""
        return bool(self.task) and not _is_old(self.task)


@contextmanager
def new_workspace(registry: str, task: str = "", *, resume: bool = False) -> Iterator[Workspace]:
    """Start a job, or begin a ``task`` (again); all that is left of it goes with the block.

    With ``resume``, what an earlier builder of the task has left is still there. Raises
    :class:`WorkspaceInUse` if another process is at the task.
    """
    incoming = f"{registry}/{INCOMING}"
    workspace = _begin(f"{incoming}/{task}", resume=resume) if task else _start(incoming)
    try:
        yield workspace
    finally:
        _discard(workspace)


def _start(incoming: str) -> Workspace:
    while True:
        path = f"{incoming}/{unique_name()}"
        lease = acquire(path + LOCK_SUFFIX)
        if lease is not None:
            break
    try:
        os.mkdir(path, DIRECTORY_MODE)
    except BaseException:
        remove_quietly(lease.path)
        lease.close()
        raise
    return Workspace(path, lease)


def _begin(path: str, *, resume: bool) -> Workspace:
    try:
        lease = acquire(path + LOCK_SUFFIX)
    except FileExistsError:
        lease = take_over(path + LOCK_SUFFIX)
        if lease is not None:
            lease.write_holder()
    if lease is None:
        raise WorkspaceInUse(
            f"another process is still at {path}", hint="It is tried again in a moment."
        )
    try:
        if not resume and exists(path):
            remove_tree(path)
        with suppress(FileExistsError):
            os.mkdir(path, DIRECTORY_MODE)
    except BaseException:
        with suppress(OSError):
            lease.expire()
        lease.close()
        raise
    return Workspace(path, lease)


def _discard(workspace: Workspace) -> None:
    try:
        # From here on nobody builds it: what stays is for the next sweep, which must not
        # take it for the work of this process, though that lives on.
        with suppress(OSError):
            workspace.lease.expire()
        if workspace.unfinished:
            return
        # First the intent: with it, but without its tree, a job counts as published.
        with suppress(FileNotFoundError):
            os.unlink(workspace.intent)
        try:
            os.rmdir(workspace.path)  # most small changes leave it empty
        except OSError:
            shutil.rmtree(workspace.path, ignore_errors=True)
            # While anything is left, the lock file must stay: a sweep finds the rest by it.
            if exists(workspace.path):
                return
        os.unlink(workspace.lease.path)
    except OSError as error:
        logger.warning("could not remove %s, which the next sweep will: %s", workspace.path, error)
    finally:
        workspace.lease.close()


def abandoned_workspaces(registry: str) -> Iterator[Workspace]:
    """Each job that nobody builds any more, held by us until the next one is asked for.

    What is left of it is removed when the caller asks for the next, unless that set
    ``unfinished``; a job whose handling raised stays for the next sweep.
    """
    incoming = f"{registry}/{INCOMING}"
    for name in sorted(os.listdir(incoming)):
        if not name.endswith(LOCK_SUFFIX):
            continue
        path = f"{incoming}/{name.removesuffix(LOCK_SUFFIX)}"
        try:
            lease = take_over(path + LOCK_SUFFIX)
        except OSError as error:
            logger.error("could not look at %s: %s", path + LOCK_SUFFIX, error)
            continue
        if lease is not None:
            workspace = Workspace(path, lease)
            yield workspace
            _discard(workspace)


@contextmanager
def left_workspace(registry: str, task: str) -> Iterator[Workspace | None]:
    """The job of ``task`` if a builder has left it, for looking at it; it stays.

    Raises :class:`WorkspaceInUse` if another process is at it.
    """
    path = f"{registry}/{INCOMING}/{task}"
    if not exists(path + LOCK_SUFFIX):
        yield None
        return
    lease = take_over(path + LOCK_SUFFIX)
    if lease is None:
        raise WorkspaceInUse(
            f"another process is still at {path}", hint="It is tried again in a moment."
        )
    workspace = Workspace(path, lease)
    workspace.unfinished = True
    try:
        yield workspace
    finally:
        _discard(workspace)


def done_path(task: str) -> str:
    """Where the answer of ``task`` stands once its change was made; in the registry."""
    return f"{INCOMING}/{task}{DONE_SUFFIX}"


def forget_old_answers(registry: str) -> None:
    """Remove the answers that nobody will ask for any more."""
    incoming = f"{registry}/{INCOMING}"
    for name in os.listdir(incoming):
        if name.endswith(DONE_SUFFIX) and _is_old(name):
            remove_quietly(f"{incoming}/{name}")


class Move(Struct, frozen=True):
    """One rename between a job and the registry.

    ``name`` is in the job, ``target`` in the registry; ``out``: from there into the job.
    """

    name: str
    target: str
    out: bool


class Intent(Struct, frozen=True, omit_defaults=True):
    """``..incoming/{job}/intent``: what recovery is to finish once the change has begun.

    ``marked``: the change has begun once the job's marker says so, else with the first
    rename. ``recount``: projects whose usage is to be counted anew. ``latest``: the asset's latest
    version is to be found anew. ``adopted``: files of the version were hard-linked from
    ``source`` (a directory of ``staging``), and their names there must go.
    """

    moves: list[Move]
    marked: bool = False
    project: str = ""
    asset: str = ""
    version: str = ""
    recount: list[str] = []
    latest: bool = False
    staging: str = ""
    source: str = ""
    adopted: bool = False

    @property
    def key(self) -> VersionKey:
        """The version that is changed."""
        return VersionKey(self.project, self.asset, self.version)
