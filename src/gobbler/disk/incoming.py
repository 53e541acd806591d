"""What is being built: ``registry/..incoming/``, and who is still building it.

::

    ..incoming/
        {job}.lock      the presence of the builder
        {job}.done      the answer of a task whose change was made
        {name}.draft    one record: see :mod:`gobbler.disk.drafts`
        {job}/
            tree/       the version (or project) that is being built
            intent      what must be finished once tree/ has been renamed into place
            log         the log entry; linked into ..logs/ after the rename

The rename of ``tree`` out of the job is the commit point. A job is abandoned when its
builder is gone.

A *task* is a job that outlives its builder: it has a name that was given to it before,
what a builder that died has left of it stays, and the next builder goes on from there.
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from gobbler.disk.opening import is_there
from gobbler.disk.presence import Presence, appear, inherit
from gobbler.disk.removing import remove_tree
from gobbler.disk.writing import DIRECTORY_MODE, remove_quietly
from gobbler.errors import Fault
from gobbler.names import INCOMING

logger = logging.getLogger(__name__)

LOCK_SUFFIX = ".lock"
DONE_SUFFIX = ".done"
TASK_SUFFIX = "-task"

KEPT_FOR = 8 * 24 * 3600.0
"""Seconds after which nobody will go on with a task, or ask for its answer."""


def new_task() -> str:
    """A name for a task."""
    return unique_name() + TASK_SUFFIX


def unique_name() -> str:
    """A name that nobody else has."""
    return f"{time.time_ns():x}-{secrets.token_hex(4)}"


def _is_old(name: str) -> bool:
    try:
        return time.time_ns() - int(name.partition("-")[0], 16) > KEPT_FOR * 1e9
    except ValueError:
        return True


class StillRunning(Fault):
    """Another process works on the task, or did so a moment ago."""


class Job:
    """One piece of work below ``..incoming``; made by :func:`new_job`.

    ``task``: its name if it is a task, else empty. ``unfinished`` is set when something was
    published and could neither be completed nor be put back, or when it will be gone on
    with: the job then stays, for the next sweep or builder.
    """

    def __init__(self, path: str, presence: Presence) -> None:
        self.path = path
        self.tree = f"{path}/tree"
        self.intent = f"{path}/intent"
        self.log = f"{path}/log"
        name = os.path.basename(path)
        self.task = name if name.endswith(TASK_SUFFIX) else ""
        self.unfinished = False
        self.presence = presence

    def sign_of_life(self) -> None:
        """Show services on other hosts, now and then, that this job goes on."""
        self.presence.sign_of_life()

    @property
    def is_resumable(self) -> bool:
        """Whether somebody may go on with it."""
        return bool(self.task) and not _is_old(self.task)


@contextmanager
def new_job(registry: str, task: str = "", *, resume: bool = False) -> Iterator[Job]:
    """Start a job, or begin a ``task`` (again); all that is left of it goes with the block.

    With ``resume``, what an earlier builder of the task has left is still there. Raises
    :class:`StillRunning` if another process is at the task.
    """
    incoming = f"{registry}/{INCOMING}"
    job = _begin(f"{incoming}/{task}", resume=resume) if task else _start(incoming)
    try:
        yield job
    finally:
        _discard(job)


def _start(incoming: str) -> Job:
    while True:
        path = f"{incoming}/{unique_name()}"
        presence = appear(path + LOCK_SUFFIX)
        if presence is not None:
            break
    try:
        os.mkdir(path, DIRECTORY_MODE)
    except BaseException:
        remove_quietly(presence.path)
        presence.close()
        raise
    return Job(path, presence)


def _begin(path: str, *, resume: bool) -> Job:
    try:
        presence = appear(path + LOCK_SUFFIX)
    except FileExistsError:
        presence = inherit(path + LOCK_SUFFIX)
        if presence is not None:
            presence.assume()
    if presence is None:
        raise StillRunning(
            f"another process is still at {path}", hint="It is tried again in a moment."
        )
    try:
        if not resume and is_there(path):
            remove_tree(path)
        with suppress(FileExistsError):
            os.mkdir(path, DIRECTORY_MODE)
    except BaseException:
        with suppress(OSError):
            presence.resign()
        presence.close()
        raise
    return Job(path, presence)


def _discard(job: Job) -> None:
    try:
        # From here on nobody builds it: what stays is for the next sweep, which must not
        # take it for the work of this process, though that lives on.
        with suppress(OSError):
            job.presence.resign()
        if job.unfinished:
            return
        # First the intent: with it, but without its tree, a job counts as published.
        with suppress(FileNotFoundError):
            os.unlink(job.intent)
        try:
            os.rmdir(job.path)  # most small changes leave it empty
        except OSError:
            shutil.rmtree(job.path, ignore_errors=True)
            # While anything is left, the lock file must stay: a sweep finds the rest by it.
            if is_there(job.path):
                return
        os.unlink(job.presence.path)
    except OSError as error:
        logger.warning("could not remove %s, which the next sweep will: %s", job.path, error)
    finally:
        job.presence.close()


def abandoned_jobs(registry: str) -> Iterator[Job]:
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
            presence = inherit(path + LOCK_SUFFIX)
        except OSError as error:
            logger.error("could not look at %s: %s", path + LOCK_SUFFIX, error)
            continue
        if presence is not None:
            job = Job(path, presence)
            yield job
            _discard(job)


@contextmanager
def abandoned_task(registry: str, task: str) -> Iterator[Job | None]:
    """The job of ``task`` if a builder has left it, for looking at it; it stays.

    Raises :class:`StillRunning` if another process is at it.
    """
    path = f"{registry}/{INCOMING}/{task}"
    if not is_there(path + LOCK_SUFFIX):
        yield None
        return
    presence = inherit(path + LOCK_SUFFIX)
    if presence is None:
        raise StillRunning(
            f"another process is still at {path}", hint="It is tried again in a moment."
        )
    job = Job(path, presence)
    job.unfinished = True
    try:
        yield job
    finally:
        _discard(job)


def done_path(task: str) -> str:
    """Where the answer of ``task`` stands once its change was made; in the registry."""
    return f"{INCOMING}/{task}{DONE_SUFFIX}"


def forget_old_answers(registry: str) -> None:
    """Remove the answers that nobody will ask for any more."""
    incoming = f"{registry}/{INCOMING}"
    for name in os.listdir(incoming):
        if name.endswith(DONE_SUFFIX) and _is_old(name):
            remove_quietly(f"{incoming}/{name}")
