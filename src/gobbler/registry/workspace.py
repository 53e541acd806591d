"""Workspaces: the directories in ``registry/..incoming/`` where changes are prepared.

::

    ..incoming/
        {name}.lock     the lease of the process that works there
        {name}.done     the answer of a resumable workspace whose change was committed
        {name}.draft    one record: see :mod:`gobbler.registry.draft`
        {name}/
            tree/       the version (or project) that is being built
            intent      the journal: see :mod:`gobbler.registry.journal`
            log         the log entry; linked into ..logs/ after the commit

A workspace ends with the process that made it: when its lease has expired, it is *abandoned*, and
recovery removes it.

A *resumable* workspace outlives its process. It has a name that was chosen and recorded before, so
that another process can take it over and resume the work; until then recovery leaves it alone.
"""

from __future__ import annotations

import logging
import os
import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from gobbler.errors import Code, Fault
from gobbler.fs.atomic_write import DIRECTORY_MODE, remove_quietly
from gobbler.fs.lease import Lease, acquire, take_over
from gobbler.fs.open import exists
from gobbler.fs.removal import remove_tree, remove_tree_quietly
from gobbler.model.names import INCOMING

logger = logging.getLogger(__name__)

LEASE_SUFFIX = ".lock"
WORKSPACE_ANSWER_SUFFIX = ".done"
RESUMABLE_SUFFIX = "-task"

RESUMABLE_FOR = 8 * 24 * 3600.0
"""Seconds after which no process resumes a workspace, or reads its answer."""


def new_workspace_name() -> str:
    """A name for a resumable workspace."""
    return unique_name() + RESUMABLE_SUFFIX


def unique_name() -> str:
    """A name that no other call on any host returns."""
    return f"{time.time_ns():x}-{secrets.token_hex(4)}"


def _is_expired(name: str) -> bool:
    try:
        return time.time_ns() - int(name.partition("-")[0], 16) > RESUMABLE_FOR * 1e9
    except ValueError:
        return True


class WorkspaceInUse(Fault):
    """Another process works in the workspace, or did so a moment ago."""

    default_code = Code.WORKSPACE_IN_USE

    @classmethod
    def at(cls, path: str) -> WorkspaceInUse:
        """The error for the workspace ``path``."""
        return cls(
            f"another process still works in {path}", hint="The service tries again in a moment."
        )


class Workspace:
    """A workspace that this process holds; made by :func:`new_workspace`.

    Set ``keep`` if it must stay at the end: for recovery, if a change was committed but could be
    neither completed nor rolled back, or for the process that resumes the work.
    """

    def __init__(self, path: str, lease: Lease) -> None:
        self.path = path
        self.name = os.path.basename(path)
        self.tree = f"{path}/tree"
        self.intent = f"{path}/intent"
        self.log = f"{path}/log"
        self.keep = False
        self.lease = lease

    def renew(self) -> None:
        """Renew the lease, so that other hosts see that the work goes on. Call it often."""
        self.lease.renew()

    @property
    def is_resumable(self) -> bool:
        """Whether the workspace outlives its process."""
        return self.name.endswith(RESUMABLE_SUFFIX)

    @property
    def is_expired(self) -> bool:
        """Whether the workspace is too old to be resumed."""
        return _is_expired(self.name)


@contextmanager
def new_workspace(registry: str, name: str = "", *, resume: bool = False) -> Iterator[Workspace]:
    """Make a workspace, or with ``name`` a resumable one; the end of the block removes it.

    With ``resume``, a resumable workspace keeps the files of an earlier process. Raises
    :class:`WorkspaceInUse` if another process works in it.
    """
    incoming = f"{registry}/{INCOMING}"
    workspace = _resume(f"{incoming}/{name}", keep=resume) if name else _make(incoming)
    try:
        yield workspace
    finally:
        _end(workspace)


def _make(incoming: str) -> Workspace:
    while True:
        path = f"{incoming}/{unique_name()}"
        lease = acquire(path + LEASE_SUFFIX)
        if lease is not None:
            break
    try:
        os.mkdir(path, DIRECTORY_MODE)
    except BaseException:
        remove_quietly(lease.path)
        lease.close()
        raise
    return Workspace(path, lease)


def _resume(path: str, *, keep: bool) -> Workspace:
    try:
        lease = acquire(path + LEASE_SUFFIX)
    except FileExistsError:
        lease = take_over(path + LEASE_SUFFIX)
        if lease is not None:
            lease.write_holder()
    if lease is None:
        raise WorkspaceInUse.at(path)
    try:
        if not keep and exists(path):
            remove_tree(path)
        with suppress(FileExistsError):
            os.mkdir(path, DIRECTORY_MODE)
    except BaseException:
        with suppress(OSError):
            lease.expire()
        lease.close()
        raise
    return Workspace(path, lease)


def _end(workspace: Workspace) -> None:
    try:
        # This process lives on, but does not work here any more: recovery may take over the rest.
        with suppress(OSError):
            workspace.lease.expire()
        if workspace.keep:
            return
        # The intent goes first: with an intent but no tree, a change counts as committed.
        with suppress(FileNotFoundError):
            os.unlink(workspace.intent)
        try:
            os.rmdir(workspace.path)  # most small changes leave it empty
        except OSError:
            remove_tree_quietly(workspace.path)
            # The lease goes last: recovery finds the rest by it.
            if exists(workspace.path):
                return
        os.unlink(workspace.lease.path)
    except OSError as error:
        logger.warning(
            "could not remove the workspace %s: %s. The next recovery removes it.",
            workspace.path,
            error,
        )
    finally:
        workspace.lease.close()


def abandoned_workspaces(registry: str, names: Iterable[str] | None = None) -> Iterator[Workspace]:
    """Take over each abandoned workspace, until the caller asks for the next one.

    ``names`` is a listing of ``..incoming``, if the caller has one. Removes a workspace when the
    caller requests the next one, unless the caller has set ``keep``. After an error it stays for
    the next recovery.
    """
    incoming = f"{registry}/{INCOMING}"
    for name in sorted(os.listdir(incoming) if names is None else names):
        if not name.endswith(LEASE_SUFFIX):
            continue
        path = f"{incoming}/{name.removesuffix(LEASE_SUFFIX)}"
        try:
            lease = take_over(path + LEASE_SUFFIX)
        except OSError as error:
            logger.error("could not read the lease %s: %s", path + LEASE_SUFFIX, error)
            continue
        if lease is not None:
            workspace = Workspace(path, lease)
            yield workspace
            _end(workspace)


@contextmanager
def abandoned_workspace(registry: str, name: str) -> Iterator[Workspace | None]:
    """Take over the resumable workspace ``name`` if it is abandoned; ``None`` if there is none.

    It stays, unless the caller clears ``keep``. Raises :class:`WorkspaceInUse` if another process
    works in it.
    """
    path = f"{registry}/{INCOMING}/{name}"
    if not exists(path + LEASE_SUFFIX):
        yield None
        return
    lease = take_over(path + LEASE_SUFFIX)
    if lease is None:
        raise WorkspaceInUse.at(path)
    workspace = Workspace(path, lease)
    workspace.keep = True
    try:
        yield workspace
    finally:
        _end(workspace)


def answer_path(name: str) -> str:
    """The path in the registry of the answer of a resumable workspace, once it has one."""
    return f"{INCOMING}/{name}{WORKSPACE_ANSWER_SUFFIX}"


def remove_expired_answers(registry: str, names: Iterable[str]) -> None:
    """Remove the answers that no process asks for any more; ``names`` lists ``..incoming``."""
    for name in names:
        if name.endswith(WORKSPACE_ANSWER_SUFFIX) and _is_expired(name):
            remove_quietly(f"{registry}/{INCOMING}/{name}")
