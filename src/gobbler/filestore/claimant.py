"""Who claims: a file in ``cur`` that its process locks, and touches now and then.

``cur/..claimant-{id}`` is made at the first claim of a store object, stands as long as
that object and its claims, and is removed with them or at the end of the process. It is a
:mod:`presence <gobbler.fs.lease>`: whoever finds it (see
:mod:`gobbler.filestore.requeue`) can tell whether its process lives.

Its lock and its content are there before the first file is renamed to a name with that
id. So there is no moment at which a file is claimed by somebody unknown.
"""

from __future__ import annotations

import errno
import itertools
import os
import queue
import stat
import threading
import weakref
from contextlib import suppress

from gobbler.filestore import names
from gobbler.fs.atomic_write import PRIVATE_FILE_MODE
from gobbler.fs.lease import RENEW_SECONDS, Lease, acquire


class Claimant:
    """This process, as the others see it in the directory ``cur`` of a store.

    A process that was forked from it is not it: it must make a claimant of its own.
    """

    def __init__(self, cur: str) -> None:
        self.pid = os.getpid()
        self.id, self._presence = _begin(cur)
        self.path = self._presence.path
        self._numbers = itertools.count(1)
        self._life = _Life(self._presence)
        _all.add(self)
        # Also at the end of the process.
        weakref.finalize(self, _end, self.pid, self._life, cur, self.id)

    def next_number(self) -> int:
        """A number that no other claim of this claimant has."""
        return next(self._numbers)

    def now(self) -> float:
        """The time by the filesystem's clock, in seconds since the epoch."""
        return self._life.sign()

    def is_known(self) -> bool:
        """Whether the others can still see us; not if they gave us up for dead."""
        return self._presence.is_visible()

    def forget(self) -> None:
        """Be no claimant any more, in a process that was forked from it."""
        self._life.forget()


_all: weakref.WeakSet[Claimant] = weakref.WeakSet()


def _forget_all() -> None:
    # The lock would live as long as the child, so that the parent would not seem dead.
    for claimant in list(_all):
        claimant.forget()
    _all.clear()


os.register_at_fork(after_in_child=_forget_all)


class _Life:
    """The presence of a claimant, and the thread that shows it.

    It may be closed by the garbage collector in the midst of anything, and in a forked
    process whose threads are gone: so no more is waited for than the touch of a file.
    """

    def __init__(self, lease: Lease) -> None:
        self._presence = lease
        self._closed = False
        self._lock = threading.RLock()
        self._over: queue.SimpleQueue[None] = queue.SimpleQueue()
        threading.Thread(
            target=self._go_on, name=f"signs of {os.path.basename(lease.path)}", daemon=True
        ).start()

    def _go_on(self) -> None:
        while True:
            try:
                return self._over.get(timeout=RENEW_SECONDS)
            except queue.Empty:
                # What fails now may work next time; there is nobody here to tell.
                with suppress(OSError):
                    self.sign()

    def sign(self) -> float:
        """Show that we live; the filesystem's time at which that was done."""
        with self._lock:
            if self._closed:
                raise OSError(errno.EBADF, "this claimant has ended", self._presence.path)
            return self._presence.touch()

    def end(self, *, remove: bool) -> None:
        """Give the presence up: ``remove`` it, or let it tell that it is nobody's."""
        with self._lock:
            if not self._closed:
                self._closed = True
                with suppress(OSError):
                    if remove:
                        os.unlink(self._presence.path)
                    else:
                        self._presence.disown()
                self._presence.close()
        self._over.put(None)

    def forget(self) -> None:
        """Close it in a forked process; the lock stays with the parent, who has it open, too."""
        if not self._closed:
            self._closed = True
            self._presence.close()


def _begin(cur: str) -> tuple[str, Lease]:
    mode = _mode_as_of(cur)
    while True:
        claimant = names.new_claimant()
        lease = acquire(os.path.join(cur, names.record_of(claimant)))
        if lease is not None:
            break
    try:
        # Other hosts must see it before they see a file with this id.
        lease.make_visible(mode)
    except BaseException:
        with suppress(OSError):
            lease.release()
        raise
    return claimant, lease


def _mode_as_of(cur: str) -> int:
    """Let those look who may take files out of ``cur``, and nobody else.

    Whoever can open a record can lock it, and so keep a dead process alive.
    """
    mode = os.stat(cur).st_mode
    group = stat.S_IRGRP | stat.S_IWGRP if mode & stat.S_IWGRP else 0
    others = stat.S_IROTH | stat.S_IWOTH if mode & stat.S_IWOTH else 0
    return PRIVATE_FILE_MODE | group | others


def _end(pid: int, life: _Life, cur: str, claimant: str) -> None:
    if os.getpid() != pid:
        return
    # If files are left with this id, the record must tell that they are nobody's.
    left = True
    with suppress(OSError):
        left = any(names.claimant_of(name) == claimant for name in os.listdir(cur))
    life.end(remove=not left)
