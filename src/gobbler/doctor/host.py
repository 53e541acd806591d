"""The account of the doctor, and the limits of the host."""

from __future__ import annotations

import multiprocessing
import os
import pwd
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection
from typing import ParamSpec, TypeVar

from gobbler.doctor.findings import Finding, Topic
from gobbler.errors import Code, Fault, Forbidden, Missing, os_error_code, quoted
from gobbler.fs.open import user_name

P = ParamSpec("P")
T = TypeVar("T")

UMASK = 0o022
"""The umask that the service sets."""

ENOUGH_FILES = 4096

PROTECTED_HARDLINKS = "/proc/sys/fs/protected_hardlinks"


def current_account() -> str:
    """The account of this process."""
    return user_name(os.geteuid())


def as_account(name: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a picklable ``function`` in a process of the account ``name``, as root.

    Raises :class:`~gobbler.errors.Missing` if there is no such account,
    :class:`~gobbler.errors.Forbidden` if the caller is neither root nor that account, and
    :class:`~gobbler.errors.Fault` if the process fails.
    """
    try:
        account = pwd.getpwnam(name)
    except KeyError:
        raise Missing(
            f"there is no account {quoted(name)} on this host", code=Code.NO_ACCOUNT
        ) from None
    if os.geteuid() not in (0, account.pw_uid):
        raise Forbidden(
            f"only root can act as {name}",
            hint=f"Run it with sudo, or as {name} without --user.",
        )
    if os.geteuid() == account.pw_uid:
        return function(*args, **kwargs)
    return _in_a_process_of(account, partial(function, *args, **kwargs))


def _in_a_process_of(account: pwd.struct_passwd, call: Callable[[], T]) -> T:
    # Forked, because the other account may not be able to read our modules. It can't trace a
    # process that was root's, so it can't forge the answer.
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_act, args=(account, call, theirs))
    try:
        process.start()
        theirs.close()
        result, error = ours.recv()
    except EOFError:
        raise Fault(f"the process of {account.pw_name} ended early") from None
    finally:
        ours.close()
        if process.pid is not None:
            process.terminate()  # it cleans up on SIGTERM
            process.join()
    if error is not None:
        raise error
    value: T = result
    return value


def _act(account: pwd.struct_passwd, call: Callable[[], T], results: Connection) -> None:
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # The parent handles Ctrl-C, and terminates this process.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        _become(account)
    except OSError as error:
        reason = f"can't act as {account.pw_name}: {error.strerror}"
        results.send((None, Fault(reason, code=os_error_code(error))))
        return
    try:
        answer: tuple[T | None, Exception | None] = (call(), None)
    except Exception as error:  # noqa: BLE001 - the parent raises it
        answer = (None, error)
    results.send(answer)


def _become(account: pwd.struct_passwd) -> None:
    os.initgroups(account.pw_name, account.pw_gid)
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)


@contextmanager
def service_umask() -> Iterator[int]:
    """Set the umask of the service during the block; yields the umask from before."""
    before = os.umask(UMASK)
    try:
        yield before
    finally:
        os.umask(before)


def account(topic: Topic, registry: str) -> Finding:
    """Whether the service's account runs the doctor, not root."""
    if os.geteuid() != 0:
        return topic.ok(f"probed as {current_account()}")
    try:
        owner = os.stat(registry).st_uid
    except OSError:
        owner = 0
    if owner:
        return topic.warning(
            f"probed as root, but the registry belongs to {user_name(owner)}",
            f"Examine them as the account of the service: --user {user_name(owner)}. Permissions "
            f"don't apply to root.",
        )
    return topic.warning(
        "probed as root, to whom permissions don't apply",
        "Run the service as an account of its own that owns the registry, and name it with --user.",
    )


def installation(topic: Topic, program: str = sys.executable) -> Finding:
    """Whether the account can run this installation."""
    if os.access(program, os.X_OK, effective_ids=True):
        return topic.ok("the account can run this installation")
    return topic.warning(
        f"{current_account()} can't run {program}",
        "Install the service where that account can read it, such as below /opt.",
    )


def umask(topic: Topic, before: int) -> Finding:
    """The umask of the caller. The service sets its own."""
    if before == UMASK:
        return topic.ok(f"{before:03o}, as the service sets it")
    return topic.ok(f"{before:03o} here; the service sets its own, {UMASK:03o}")


def hard_links(topic: Topic, setting: str = PROTECTED_HARDLINKS) -> Finding:
    """Whether users can hard-link files of others: see ``proc_sys_fs(5)``.

    Then a user could repeat a request of another within its minute.
    """
    try:
        # As bytes: Python loads a codec at its first use, and the account may not be able to
        # read the files of the interpreter.
        with open(setting, "rb") as handle:
            protected = handle.read().strip() != b"0"
    except OSError:
        return topic.ok("unknown: this kernel has no fs.protected_hardlinks")
    if protected:
        return topic.ok("users can't hard-link files that they can't write")
    return topic.warning(
        "users can hard-link files of others, and so repeat their requests",
        "sysctl -w fs.protected_hardlinks=1, and set the same in /etc/sysctl.d/.",
    )


def open_files(
    topic: Topic, limits: Callable[[int], tuple[int, int]] = resource.getrlimit
) -> Finding:
    """The number of files that a process can have open; the service uses the hard limit."""
    _, hard = limits(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < ENOUGH_FILES:
        return topic.warning(
            f"a process can have only {hard} files open: requests will fail under load",
            "Raise the hard limit: LimitNOFILE=65536 in the systemd unit, or "
            "/etc/security/limits.conf.",
        )
    number = "any number of" if hard == resource.RLIM_INFINITY else f"{hard}"
    return topic.ok(f"a process can have {number} files open")
