"""A claimant: the lease of one process in ``cur``, which its claims refer to.

A store object makes ``cur/..claimant-{id}`` at its first claim. The file is a
:mod:`lease <gobbler.fs.lease>`: a thread renews it, so that other processes can find out whether
this process still lives (see :mod:`gobbler.filestore.store`). It is removed with the store
object and its claims, or at the end of the process.

The lease exists, locked, before a file is renamed to a name with that ID. So at no moment is a
file claimed by an unknown process.
"""

from __future__ import annotations

import errno
import itertools
import logging
import os
import queue
import stat
import threading
import weakref
from contextlib import suppress

from gobbler.filestore import names
from gobbler.fs.atomic_write import PRIVATE_FILE_MODE
from gobbler.fs.lease import RENEW_SECONDS, Lease, acquire

logger = logging.getLogger(__name__)


class Claimant:
    """This process, as other processes see it in the directory ``cur`` of a store.

    A forked process is another claimant: it must make one of its own.
    """

    def __init__(self, cur: str) -> None:
        self.pid = os.getpid()
        self.id, self._lease = _acquire(cur)
        self.path = self._lease.path
        self._numbers = itertools.count(1)
        self._renewal = _Renewal(self._lease)
        _all.add(self)
        # Called at the end of the process, too.
        weakref.finalize(self, _end, self.pid, self._renewal, cur, self.id)

    def next_number(self) -> int:
        """A number that no other claim of this claimant has."""
        return next(self._numbers)

    def now(self) -> float:
        """The time of the filesystem, in seconds since the epoch. Renews the lease."""
        return self._renewal.renew()

    def is_lost(self) -> bool:
        """Whether another process took the lease for expired, and removed it."""
        return self._lease.is_lost()

    def is_ours(self) -> bool:
        """Whether this process made it. A forked process has no claimants until it makes one."""
        return self in _all

    def forget(self) -> None:
        """Close the lease in a forked process; the parent keeps it."""
        self._renewal.forget()


_all: weakref.WeakSet[Claimant] = weakref.WeakSet()


def _forget_all() -> None:
    # A child that keeps the file open keeps the lock, and a dead parent would seem to live.
    for claimant in list(_all):
        claimant.forget()
    _all.clear()


os.register_at_fork(after_in_child=_forget_all)


class _Renewal:
    """The lease of a claimant, and the thread that renews it.

    The garbage collector may end it at any moment, also in a forked process that has no such
    thread. So ending it only waits for the touch of a file.
    """

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        self._closed = False
        self._lock = threading.RLock()
        self._ended: queue.SimpleQueue[None] = queue.SimpleQueue()
        threading.Thread(
            target=self._run, name=f"lease of {os.path.basename(lease.path)}", daemon=True
        ).start()

    def _run(self) -> None:
        while True:
            try:
                return self._ended.get(timeout=RENEW_SECONDS)
            except queue.Empty:
                # A failure now may be gone at the next renewal, and no caller waits for it.
                try:
                    self.renew()
                except OSError:
                    continue
                except Exception:
                    logger.exception("could not renew %s, and go on", self._lease.path)

    def renew(self) -> float:
        """Renew the lease; the time of the filesystem then, in seconds since the epoch."""
        with self._lock:
            if self._closed:
                raise OSError(errno.EBADF, "this claimant has ended", self._lease.path)
            return self._lease.renew_now()

    def end(self, *, remove: bool) -> None:
        """Release the lease: ``remove`` its file, or leave it there as an expired lease."""
        with self._lock:
            if not self._closed:
                self._closed = True
                with suppress(OSError):
                    if remove:
                        os.unlink(self._lease.path)
                    else:
                        self._lease.expire()
                self._lease.close()
        self._ended.put(None)

    def forget(self) -> None:
        """Close the lease in a forked process; the parent, which has it open too, keeps it."""
        if not self._closed:
            self._closed = True
            self._lease.close()


def _acquire(cur: str) -> tuple[str, Lease]:
    mode = _lease_mode(cur)
    while True:
        claimant = names.new_claimant_id()
        lease = acquire(os.path.join(cur, names.lease_name(claimant)))
        if lease is not None:
            break
    try:
        # Other hosts must see the lease before they see a file with this ID.
        lease.make_visible(mode)
    except BaseException:
        with suppress(OSError):
            lease.release()
        raise
    return claimant, lease


def _lease_mode(cur: str) -> int:
    """The mode of a lease: readable for those who may take files out of ``cur``, and no others.

    A process that can open a lease can lock it, and so make a dead process seem to live.
    """
    mode = os.stat(cur).st_mode
    group = stat.S_IRGRP | stat.S_IWGRP if mode & stat.S_IWGRP else 0
    others = stat.S_IROTH | stat.S_IWOTH if mode & stat.S_IWOTH else 0
    return PRIVATE_FILE_MODE | group | others


def _end(pid: int, renewal: _Renewal, cur: str, claimant: str) -> None:
    if os.getpid() != pid:
        return
    # If files with this ID are left, the expired lease must stay: requeue() finds them by it.
    left = True
    with suppress(OSError):
        left = any(names.claimant_of(name) == claimant for name in os.listdir(cur))
    renewal.end(remove=not left)
