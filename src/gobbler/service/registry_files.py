"""The files of a registry that anyone may read over HTTP.

One rule for every endpoint: a file is opened once. A link is followed only if it leads to a file
of the registry or below a whitelisted directory, and no directory on the way may be a link. The
service sends only from the descriptor that was checked.
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat
from collections.abc import Callable
from typing import NamedTuple

from gobbler.errors import Code, Fault, GobblerError, Missing, Refused, os_error_code, quoted
from gobbler.fs import access, mounts
from gobbler.fs.open import (
    Beneath,
    Opener,
    cached_opener,
    closing,
    kind_of,
    open_beneath,
    open_directory,
    opener,
    read_link,
)
from gobbler.model.names import INCOMING, has_internal
from gobbler.rules.links import absolute_target, below

MAX_HOPS = 8
"""Longest chain of links to follow; links that the service writes need one."""

FLAGS = os.O_RDONLY | os.O_NONBLOCK

READ_SIZE = 1024 * 1024
"""Bytes of a file that are read and sent at a time."""

_LOCAL = frozenset(("ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "tmpfs"))
"""Filesystems that open a file without a server, once its path is in the kernel's cache."""

_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO)


class Opened(NamedTuple):
    """A file that is open for reading, and its status; whoever gets it closes it."""

    descriptor: int
    status: os.stat_result


class _NotCachedError(Exception):
    """To open the file, the kernel might have to wait."""


class RegistryFiles:
    """Opens the files of the registry ``registry``; paths are relative to it.

    ``is_local``: no server is asked for them.
    """

    def __init__(self, registry: str, whitelist: tuple[str, ...]) -> None:
        self._registry = registry
        self._whitelist = whitelist
        self._open = opener()
        self.is_local = _is_local(registry)
        self._open_cached = cached_opener() if self.is_local else None
        self.directory = open_directory(registry)

    def open(self, path: str, beneath: Beneath | None = None) -> Opened:
        """Open the file at ``path`` for reading; it takes as long as the filesystem takes.

        With ``beneath``, its open directories serve as the way there. Raises
        :class:`~gobbler.errors.Missing` if the file is not there, is no regular file, or is a
        link that must not be followed.
        """
        if beneath is not None:
            return self._follow(path, lambda where: beneath.open(where, FLAGS), self._read_link)
        return self._follow(
            path, lambda where: self._open(self.directory, where, FLAGS), self._read_link
        )

    def open_cached(self, path: str) -> Opened | None:
        """Like :meth:`open`, but never waits; ``None`` where it might have to.

        On a local filesystem it need not wait if the kernel has ``path`` in its cache.
        """
        call = self._open_cached
        if call is None:
            return None
        try:
            return checked(call(self.directory, path, FLAGS), path)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise not_there(error, path) from None
        return self._follow_cached(path, call)

    def _follow_cached(self, path: str, call: Opener) -> Opened | None:
        def enter(where: str, flags: int = FLAGS) -> int:
            try:
                return call(self.directory, where, flags)
            except BlockingIOError:
                raise _NotCachedError from None

        def read(where: str) -> str:
            with closing(enter(where, os.O_PATH)) as link:
                return os.readlink("", dir_fd=link)

        try:
            return self._follow(path, enter, read, whitelisted=False)
        except _NotCachedError:
            return None

    def link(self, path: str) -> str | None:
        """The target of the link at ``path`` in the registry; ``None`` if it leads out of it.

        Raises :class:`~gobbler.errors.Missing` if it leads to a file that must not be served.
        """
        return self._inner(self._target(path, path, self._read_link), path)

    def _follow(
        self,
        path: str,
        enter: Callable[[str], int],
        read: Callable[[str], str],
        *,
        whitelisted: bool = True,
    ) -> Opened:
        where = path
        for _ in range(MAX_HOPS):
            try:
                return checked(enter(where), path)
            except OSError as error:
                if error.errno != errno.ELOOP:
                    raise not_there(error, path) from None
            target = self._target(where, path, read)
            inner = self._inner(target, path)
            if inner is None:
                if not whitelisted:
                    raise _NotCachedError
                return self._open_whitelisted(target, path)
            where = inner
        raise _leads_nowhere(path)

    def _read_link(self, where: str) -> str:
        return read_link(self.directory, where)

    def _target(self, where: str, path: str, read: Callable[[str], str]) -> str:
        try:
            text = read(where)
        except OSError as error:
            raise not_there(error, path) from None
        return absolute_target(posixpath.dirname(f"{self._registry}/{where}"), text)

    def _inner(self, target: str, path: str) -> str | None:
        inner = below(target, self._registry)
        if inner is not None and has_internal(inner):
            raise _leads_nowhere(path)
        return inner

    def _open_whitelisted(self, target: str, path: str) -> Opened:
        for root in self._whitelist:
            inner = below(target, root)
            if inner:
                try:
                    with closing(open_directory(root)) as directory:
                        found = open_beneath(directory, inner, FLAGS, access.enterable)
                    return _public(checked(found, path))
                except access.Restricted:
                    raise Missing(
                        f"{quoted(path)} is a link to a file that not everybody may read",
                        code=Code.UNREADABLE,
                    ) from None
                except OSError as error:
                    raise not_there(error, path) from None
        raise Missing(
            f"{quoted(path)} is a link that leads out of the registry and the "
            "whitelisted directories",
            code=Code.SYMBOLIC_LINK,
        )


def _is_local(directory: str) -> bool:
    try:
        mount = mounts.mount_of(mounts.read(), os.path.realpath(directory))
    except OSError:
        return False
    return mount is not None and mount.kind in _LOCAL


def not_there(error: OSError, path: str) -> GobblerError:
    """The error for a ``path`` that could not be opened."""
    if error.errno in _ABSENT:
        return absent(path)
    return Fault(f"could not read {quoted(path)}: {error.strerror}", code=os_error_code(error))


def checked(descriptor: int, path: str) -> Opened:
    """The open file ``descriptor`` if it is a regular one; else it is closed and refused."""
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode):
        return Opened(descriptor, status)
    os.close(descriptor)
    raise no_file(status.st_mode, path)


def _public(opened: Opened) -> Opened:
    """``opened`` if everybody may read the file; else it is closed."""
    try:
        access.check_everybody(opened.descriptor, access.READ)
    except BaseException:
        os.close(opened.descriptor)
        raise
    return opened


def no_file(mode: int, path: str) -> Missing:
    """The error for a ``path`` that is no regular file but of ``mode``."""
    hint = "Use /list to see what is in it." if stat.S_ISDIR(mode) else ""
    return Missing(
        f"{quoted(path)} is {kind_of(mode)}, not a file", code=Code.NOT_A_FILE, hint=hint
    )


def _leads_nowhere(path: str) -> Missing:
    return Missing(
        f"{quoted(path)} is a link that leads to no file of the registry",
        code=Code.DAMAGED_LINKS,
    )


def registry_path(path: str) -> str:
    """``path`` relative to the registry, in its plainest form (``""``: the registry).

    Raises :class:`~gobbler.errors.Refused` if it leaves the registry, and
    :class:`~gobbler.errors.Missing` for versions in preparation, which are private.
    """
    if _is_plain(path):
        return path
    if "\0" in path:
        raise Refused(f"{quoted(path)} is not a path", code=Code.INVALID_NAME)
    plain = posixpath.normpath(path) if path else "."
    if plain.startswith(("/", "../")) or plain == "..":
        raise Refused(f"{quoted(path)} leaves the registry", code=Code.INVALID_NAME)
    if plain.startswith(INCOMING) and plain.split("/", 1)[0] == INCOMING:
        raise absent(path)
    return "" if plain == "." else plain


def _is_plain(path: str) -> bool:
    """Whether ``path`` certainly is in its plainest form, as nearly all are."""
    return (
        path[:1] not in ("", ".", "/")
        and path[-1] != "/"
        and "//" not in path
        and "/." not in path
        and "\0" not in path
    )


def absent(path: str) -> Missing:
    """The error for a ``path`` that is not in the registry."""
    return Missing(f"{quoted(path)} does not exist in the registry", code=Code.FILE_NOT_FOUND)
