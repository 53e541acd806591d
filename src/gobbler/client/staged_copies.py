"""Staged copies: what a client has copied into staging, so that a later run can remove it.

::

    {state directory}/staged/{name of the copy}    JSON: see StagedCopy

A client removes its copy when the upload has ended. If it is killed, or does not wait for the
end, the copy stays; and in a staging directory that belongs to root, the service may not remove
what users left. So the client writes down each copy before it makes it, and each later upload
removes those that nobody needs any more. This is optional: no failure here fails an upload.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Callable, Iterator

import msgspec
from msgspec import Struct

from gobbler.client.http import Http
from gobbler.client.jobs import HttpJobReader, SpoolJobReader
from gobbler.client.user_directories import state_directory
from gobbler.errors import Fault, GobblerError, Missing
from gobbler.fs.atomic_write import replace, write_new
from gobbler.fs.lease import Holder, process_start, this_process
from gobbler.fs.open import DIRECTORY, closing
from gobbler.fs.removal import remove

KEEP_SECONDS = 86_400.0
"""Seconds for which a copy stays whose upload may still run: its client died while it waited."""

ABANDONED_SECONDS = 7 * 86_400.0
"""Seconds after which nobody needs a copy, as far as a service is concerned."""

COPY_PREFIX = "upload-"
"""Begins the names of copies: nothing else is ever removed."""


class StagedCopy(Struct, frozen=True):
    """A copy in staging: its path, who made it and when, and what uses it.

    ``requested`` says whether the service may have been asked to publish it; ``job`` names the
    job that does so, and ``url`` its service.
    """

    path: str
    made: float
    holder: Holder
    requested: bool = False
    job: str | None = None
    url: str | None = None


JobStates = Callable[[StagedCopy], bool]
"""Whether the job of a copy has ended; raises if that can't be found out."""


def has_ended(copy: StagedCopy) -> bool:
    """Whether the job of ``copy`` has ended, as its service or the spool says."""
    job = str(copy.job)
    if copy.url is not None:
        return HttpJobReader(Http(copy.url))(job).is_final
    return SpoolJobReader(os.path.dirname(copy.path))(job).is_final


def has_ended_at(url: str | None) -> JobStates:
    """The same for jobs of the service ``url`` only, which is about to be asked anyway."""

    def ended(copy: StagedCopy) -> bool:
        if copy.url != url:
            raise Fault(f"{copy.url} is another service")
        return has_ended(copy)

    return ended


def remember(copy: StagedCopy) -> None:
    """Write down ``copy``, in place of what was written down about it before."""
    with contextlib.suppress(OSError, GobblerError, UnicodeError):  # a path that is not text
        directory = _directory()
        if directory is not None:
            os.makedirs(directory, mode=0o700, exist_ok=True)
            record = os.path.join(directory, os.path.basename(copy.path))
            data = msgspec.json.encode(copy)
            try:
                write_new(record, data)  # half the calls; a half-written record counts for nothing
            except FileExistsError:
                replace(record, data, flush=False)


def forget(path: str) -> None:
    """Forget the copy at ``path``, which is gone."""
    with contextlib.suppress(OSError):
        directory = _directory()
        if directory is not None:
            os.unlink(os.path.join(directory, os.path.basename(path)))


def new_copy(path: str) -> StagedCopy:
    """A copy that this process is about to make at ``path``."""
    return StagedCopy(path, time.time(), this_process())


def copies() -> Iterator[StagedCopy]:
    """The copies that were written down and are still there, in no order."""
    directory = _directory()
    try:
        names = os.listdir(directory) if directory is not None else []
    except OSError:
        return
    for name in names:
        with contextlib.suppress(OSError, msgspec.DecodeError):
            with open(os.path.join(str(directory), name), "rb") as file:
                copy = msgspec.json.decode(file.read(1 << 16), type=StagedCopy)
            if os.path.basename(copy.path) == name and name.startswith(COPY_PREFIX):
                if _is_there(copy):
                    yield copy
                else:
                    forget(copy.path)


def remove_unneeded(ended: JobStates) -> list[StagedCopy]:
    """Remove the copies that nobody needs any more; return those that are gone."""
    return [copy for copy in copies() if is_unneeded(copy, ended) and remove_copy(copy)]


def is_unneeded(copy: StagedCopy, ended: JobStates = has_ended) -> bool:
    """Whether nobody needs ``copy`` any more.

    Its client has ended, and so has its job; without a job, the service was never asked, or so
    long ago that it has ended.
    """
    age = time.time() - copy.made
    if copy.job is not None:
        try:
            return ended(copy)
        except Missing:
            return True  # its answer has expired
        except (GobblerError, OSError):
            return age > ABANDONED_SECONDS
    lives = _lives(copy.holder)
    if lives is None:
        return age > ABANDONED_SECONDS
    return not lives and age > (KEEP_SECONDS if copy.requested else 0)


def remove_of_job(job: str) -> None:
    """Remove the copy that ``job`` has published, or failed to publish."""
    for copy in copies():
        if copy.job == job:
            remove_copy(copy)


def remove_copy(copy: StagedCopy) -> bool:
    """Remove ``copy``, following no link; whether it is gone."""
    staging, name = os.path.split(copy.path)
    try:
        descriptor = os.open(staging, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return False
    with closing(descriptor):
        gone = remove(descriptor, name)
    if gone:
        forget(copy.path)
    return gone


def size_of(copy: StagedCopy) -> int:
    """Bytes of the files in ``copy``, as far as they can be seen."""
    total, pending = 0, [copy.path]
    while pending:
        with contextlib.suppress(OSError), os.scandir(pending.pop()) as entries:
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode):
                    pending.append(entry.path)
                else:
                    total += status.st_blocks * 512
    return total


def _is_there(copy: StagedCopy) -> bool:
    """Whether there is a directory of this user at the path of ``copy``."""
    try:
        with closing(os.open(copy.path, DIRECTORY)) as opened:
            return os.fstat(opened).st_uid == os.geteuid()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True


def _lives(holder: Holder) -> bool | None:
    """Whether a process still lives; ``None`` on another host, where nobody can know."""
    us = this_process()
    if holder.host == us.host and holder.boot != us.boot:
        return False
    if (holder.host, holder.namespace) != (us.host, us.namespace):
        return None
    return process_start(holder.pid) == holder.started


def _directory() -> str | None:
    state = state_directory()
    return None if state is None else os.path.join(state, "staged")
