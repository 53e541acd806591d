"""Workspaces: the directories in ``registry/..incoming/`` where changes are prepared.

::

    ..incoming/
        {random}.lock   the lease of the process that works there
        {random}/       a workspace
            tree/       the version (or project) that is being built
            intent      the journal: see :mod:`gobbler.registry.journal`
            log         the log entry; linked into ..logs/ after the commit
        {name}/         a resumable workspace
            {random}.lock
            {random}/   the workspace of one attempt, like those above
                former-{random}/    that of an earlier attempt
        {name}.done     the answer of a resumable workspace whose change was committed
        {name}.draft    one record: see :mod:`gobbler.registry.draft`
        {unique}.discarded  see :mod:`gobbler.registry.discarded`

A workspace ends with the process that made it: when its lease has expired, it is *abandoned*, and
recovery removes it.

A *resumable* workspace outlives its process. It has a name that was chosen and recorded before, so
that another process can take it over and resume the work; until then recovery leaves it alone.

**Fencing.** A process that was taken for dead may come back. So whoever takes over a workspace
renames it first, to a name that only the new holder knows. The former holder then finds none of
its paths any more: it can neither commit nor roll back anything, nor remove what its successor has
made. This relies on no lock.
"""

from __future__ import annotations

import logging
import os
import secrets
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager, suppress

from gobbler.errors import Cancelled, Code, Fault, GobblerError
from gobbler.fs.atomic_write import DIRECTORY_MODE, remove_quietly
from gobbler.fs.lease import Lease, acquire, take_over
from gobbler.fs.open import exists
from gobbler.fs.removal import remove_tree
from gobbler.model.names import INCOMING
from gobbler.registry.discarded import Freed, discard
from gobbler.registry.unique_name import unique_name
from gobbler.rules.ended_attempt import is_resumed

logger = logging.getLogger(__name__)

LEASE_SUFFIX = ".lock"
WORKSPACE_ANSWER_SUFFIX = ".done"
RESUMABLE_SUFFIX = "-task"

FORMER_PREFIX = "former-"
"""Prefix of the workspaces of earlier attempts, inside of the present one."""

RESUMABLE_FOR = 8 * 24 * 3600.0
"""Seconds after which no process resumes a workspace, or reads its answer."""


def new_workspace_name() -> str:
    """A name for a resumable workspace."""
    return unique_name() + RESUMABLE_SUFFIX


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


def workspace_gone(path: str) -> Cancelled:
    """The error of whoever works in a directory that another process has taken over, or removed.

    After a cancellation, the dispatching process raises the error that cancelled its batches.
    """
    return Cancelled(
        f"{path} is gone: another process has taken the work over",
        code=Code.CONTENTION,
        hint="This one was silent for so long that it counted as dead.",
    )


class Workspace:
    """A workspace that this process holds; made by :func:`new_workspace`.

    Set ``keep`` if it must stay at the end: for recovery, if a change was committed but could be
    neither completed nor rolled back, or for the process that resumes the work. ``formers`` are
    the workspaces of earlier attempts, inside of this one. ``freed``: the space that its end frees.
    """

    def __init__(self, path: str, lease: Lease) -> None:
        self.path = path
        above = os.path.basename(os.path.dirname(path))
        self.name = above if _is_resumable(above) else os.path.basename(path)
        self.freed: Freed | None = None
        self.formers: list[str] = []
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
        return _is_resumable(self.name)


@contextmanager
def new_workspace(registry: str, name: str = "", *, resume: bool = False) -> Iterator[Workspace]:
    """Make a workspace, or with ``name`` a resumable one; the end of the block removes it.

    With ``resume``, a resumable workspace keeps the files of an earlier process, or of an attempt
    that did not get a lock in time. Raises
    :class:`WorkspaceInUse` if another process works in it.
    """
    incoming = f"{registry}/{INCOMING}"
    workspace = _resume(incoming, name, keep=resume) if name else _make(incoming)
    try:
        yield workspace
    except GobblerError as error:
        # What has been copied is not copied again.
        workspace.keep = workspace.keep or (workspace.is_resumable and is_resumed(error))
        raise
    except FileNotFoundError as error:
        if exists(workspace.path):
            raise
        raise workspace_gone(workspace.path) from error
    finally:
        _end(workspace)


def _is_resumable(name: str) -> bool:
    return name.endswith(RESUMABLE_SUFFIX)


def _make(directory: str) -> Workspace:
    """An empty workspace in ``directory``, with a name that no other process knows."""
    while True:
        path = f"{directory}/{unique_name()}"
        lease = acquire(path + LEASE_SUFFIX)
        if lease is None:
            continue
        try:
            os.mkdir(path, DIRECTORY_MODE)
            if not lease.is_lost():
                return Workspace(path, lease)
            os.rmdir(path)  # this process was taken for dead meanwhile
        except BaseException:
            remove_quietly(lease.path)
            lease.close()
            raise
        lease.release()  # it may still be there, if it could only not be looked at


def _take_over(path: str) -> Workspace | None:
    """Take over the abandoned workspace ``path``, under another name.

    ``None`` if it is not abandoned, or another process takes it over.
    """
    lease = take_over(path + LEASE_SUFFIX)
    if lease is None:
        return None
    try:
        workspace = _make(os.path.dirname(path))
    except BaseException:
        lease.close()
        raise
    try:
        _fence(path, lease, workspace.path)
    except BaseException:
        _end(workspace)
        raise
    return workspace


def _fence(path: str, lease: Lease, target: str) -> bool:
    """Move the workspace ``path`` to ``target``, and release its ``lease``; whether it was there.

    Its former holder finds neither afterwards.
    """
    try:
        moved = _move(path, target)
    except BaseException:
        lease.close()
        raise
    lease.release()
    # A former holder that was stopped before it made the directory may have made it meanwhile.
    # Later it can't, for it finds that it has lost its lease: see `_make`.
    return moved or _move(path, target)


def _move(path: str, target: str) -> bool:
    try:
        os.rename(path, target)
    except FileNotFoundError:
        return False
    return True


def _resume(incoming: str, name: str, *, keep: bool) -> Workspace:
    directory = f"{incoming}/{name}"
    while True:
        with suppress(FileExistsError):
            os.mkdir(directory, DIRECTORY_MODE)
        with suppress(FileNotFoundError):  # an earlier attempt has just removed it
            workspace = _make(directory)
            break
    try:
        for path in _leased(directory):  # only now that others see this one
            if path != workspace.path:
                _absorb(workspace, path)
        if not keep:
            while workspace.formers:
                remove_tree(workspace.formers.pop())
    except BaseException:
        workspace.keep = bool(workspace.formers)
        _end(workspace)
        raise
    return workspace


def _leased(directory: str, names: Iterable[str] | None = None) -> list[str]:
    """The paths of the workspaces in ``directory`` that have a lease; ``names`` may list it."""
    if names is None:
        try:
            names = os.listdir(directory)
        except (FileNotFoundError, NotADirectoryError):
            return []
    leases = sorted(name for name in names if name.endswith(LEASE_SUFFIX))
    return [f"{directory}/{name.removesuffix(LEASE_SUFFIX)}" for name in leases]


def _absorb(workspace: Workspace, path: str) -> None:
    """Move the workspace ``path`` of an earlier attempt into ``workspace``, with all inside of it.

    Raises :class:`WorkspaceInUse` if a living process works there.
    """
    lease = take_over(path + LEASE_SUFFIX)
    if lease is None:
        if exists(path + LEASE_SUFFIX):
            raise WorkspaceInUse.at(path)
        return
    former = f"{workspace.path}/{FORMER_PREFIX}{secrets.token_hex(8)}"
    if _fence(path, lease, former):
        _add_former(workspace, former)


def _add_former(workspace: Workspace, former: str) -> None:
    waiting = [former]
    while waiting:
        path = waiting.pop()
        workspace.formers.append(path)
        for name in os.listdir(path):
            if name.startswith(FORMER_PREFIX):
                inner = f"{workspace.path}/{name}"
                os.rename(f"{path}/{name}", inner)
                waiting.append(inner)


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
        except FileNotFoundError:
            pass  # this process was taken for dead, and another one has taken over
        except OSError:
            # The lease goes last: recovery finds the rest by it.
            with suppress(FileNotFoundError):
                discard(workspace.path, workspace.freed)
        with suppress(FileNotFoundError):
            os.unlink(workspace.lease.path)
        if workspace.is_resumable:
            remove_if_empty(os.path.dirname(workspace.path))
    except OSError as error:
        logger.warning(
            "could not remove the workspace %s: %s. The next recovery removes it.",
            workspace.path,
            error,
        )
    finally:
        workspace.lease.close()


def remove_if_empty(directory: str) -> None:
    """Remove the directory of a resumable workspace, unless another attempt has begun."""
    with suppress(OSError):
        os.rmdir(directory)


def _remove_rest(directory: str) -> None:
    """Remove the directory of a resumable workspace that no attempt uses any more."""
    if _is_expired(os.path.basename(directory)):
        with suppress(OSError):
            remove_tree(directory)
    else:
        remove_if_empty(directory)


def abandoned_workspaces(registry: str, names: Iterable[str] | None = None) -> Iterator[Workspace]:
    """Take over each abandoned workspace, until the caller asks for the next one.

    ``names`` is a listing of ``..incoming``, if the caller has one. Removes a workspace when the
    caller requests the next one, unless the caller has set ``keep``. After an error it stays for
    the next recovery.
    """
    incoming = f"{registry}/{INCOMING}"
    names = os.listdir(incoming) if names is None else list(names)
    paths = _leased(incoming, names)
    for name in filter(_is_resumable, sorted(names)):
        attempts = _leased(f"{incoming}/{name}")
        if not attempts:
            _remove_rest(f"{incoming}/{name}")
        elif may_be_resumed(registry, name):  # only what was committed is completed
            paths += [path for path in attempts if exists(f"{path}/intent")]
        else:
            paths += attempts
    for path in paths:
        try:
            workspace = _take_over(path)
        except OSError as error:
            logger.error("could not take over the workspace %s: %s", path, error)
            continue
        if workspace is not None:
            yield workspace
            _end(workspace)


def may_be_resumed(registry: str, name: str) -> bool:
    """Whether another process may still resume the workspace ``name``."""
    return (
        _is_resumable(name)
        and not _is_expired(name)
        and not exists(f"{registry}/{answer_path(name)}")
    )


def abandoned_attempts(registry: str, name: str) -> Generator[Workspace]:
    """Take over each workspace of an earlier attempt at the resumable workspace ``name``.

    Each stays, unless the caller clears ``keep`` before it requests the next one. Raises
    :class:`WorkspaceInUse` if another process works in one of them.
    """
    directory = f"{registry}/{INCOMING}/{name}"
    for path in _leased(directory):
        workspace = _take_over(path)
        if workspace is None:
            if exists(path + LEASE_SUFFIX):
                raise WorkspaceInUse.at(path)
            continue
        workspace.keep = True
        try:
            yield workspace
        finally:
            _end(workspace)
    remove_if_empty(directory)


def answer_path(name: str) -> str:
    """The path in the registry of the answer of a resumable workspace, once it has one."""
    return f"{INCOMING}/{name}{WORKSPACE_ANSWER_SUFFIX}"


def remove_expired_answers(registry: str, names: Iterable[str]) -> None:
    """Remove the answers that no process asks for any more; ``names`` lists ``..incoming``."""
    for name in names:
        if name.endswith(WORKSPACE_ANSWER_SUFFIX) and _is_expired(name):
            remove_quietly(f"{registry}/{INCOMING}/{name}")
