"""The files of a registry, as whoever reads over HTTP may have them.

One rule for every endpoint: a file is opened once, following no link but those that lead
to a file of the registry or below a whitelisted directory, and no link on the way there.
All that is sent comes from the descriptor that was checked.
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat

from gobbler.errors import Code, Fault, GobblerError, Missing, Refused, quoted
from gobbler.fs.open import Beneath, closing, kind_of, open_beneath, open_directory
from gobbler.fs.openat2 import opener, read_link
from gobbler.fs.os_errors import code_of
from gobbler.model.names import INCOMING, has_internal
from gobbler.rules.links import absolute_target, below

HOPS = 8
"""Links of links that are followed at most; what the service writes needs one."""

FLAGS = os.O_RDONLY | os.O_NONBLOCK

_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO)


class Files:
    """Opens the files of the registry ``registry``; paths are relative to it."""

    def __init__(self, registry: str, whitelist: tuple[str, ...]) -> None:
        self._registry = registry
        self._whitelist = whitelist
        self._open = opener()
        self.directory = open_directory(registry)

    def open(self, path: str, beneath: Beneath | None = None) -> int:
        """Open the file at ``path`` for reading.

        With ``beneath``, the directories on the way are those that it keeps open. Raises
        :class:`~gobbler.errors.Missing` for what is not there, is no file, or is a link to
        elsewhere.
        """
        where = path
        for _ in range(HOPS):
            try:
                if beneath is not None:
                    return checked(beneath.open(where, FLAGS), path)
                return checked(self._open(self.directory, where, FLAGS), path)
            except OSError as error:
                if error.errno != errno.ELOOP:
                    raise not_there(error, path) from None
            target = self._target(where, path)
            inner = self._inner(target, path)
            if inner is None:
                return self._open_whitelisted(target, path)
            where = inner
        raise _leads_nowhere(path)

    def link(self, path: str) -> str | None:
        """Where the link at ``path`` leads to in the registry; ``None`` if out of it.

        Raises :class:`~gobbler.errors.Missing` where that is nothing that may be served.
        """
        return self._inner(self._target(path, path), path)

    def _target(self, where: str, path: str) -> str:
        try:
            text = read_link(self.directory, where)
        except OSError as error:
            raise not_there(error, path) from None
        return absolute_target(posixpath.dirname(f"{self._registry}/{where}"), text)

    def _inner(self, target: str, path: str) -> str | None:
        inner = below(target, self._registry)
        if inner is not None and has_internal(inner):
            raise _leads_nowhere(path)
        return inner

    def _open_whitelisted(self, target: str, path: str) -> int:
        for root in self._whitelist:
            inner = below(target, root)
            if inner:
                try:
                    with closing(open_directory(root)) as directory:
                        return checked(open_beneath(directory, inner, FLAGS), path)
                except OSError as error:
                    raise not_there(error, path) from None
        raise Missing(
            f"{quoted(path)} is a link that leads out of the registry and the "
            "whitelisted directories",
            code=Code.SYMBOLIC_LINK,
        )


def not_there(error: OSError, path: str) -> GobblerError:
    """The answer to whoever asked for ``path``, which could not be opened."""
    if error.errno in _ABSENT:
        return Missing(f"{quoted(path)} does not exist in the registry", code=Code.FILE_NOT_FOUND)
    return Fault(f"could not read {quoted(path)}: {error.strerror}", code=code_of(error))


def checked(descriptor: int, path: str) -> int:
    """``descriptor`` if it is of a regular file; else it is closed and refused."""
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    raise no_file(mode, path)


def no_file(mode: int, path: str) -> Missing:
    """The answer to whoever asked for ``path``, which is no file but of ``mode``."""
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

    Raises :class:`~gobbler.errors.Refused` when it leaves the registry, and
    :class:`~gobbler.errors.Missing` for what is being built, which nobody may see.
    """
    if "\0" in path:
        raise Refused(f"{quoted(path)} is not a path", code=Code.INVALID_NAME)
    plain = posixpath.normpath(path) if path else "."
    if plain.startswith(("/", "../")) or plain == "..":
        raise Refused(f"{quoted(path)} leaves the registry", code=Code.INVALID_NAME)
    if plain.split("/", 1)[0] == INCOMING:
        raise absent(path)
    return "" if plain == "." else plain


def absent(path: str) -> Missing:
    """The error for a ``path`` that is not in the registry."""
    return Missing(f"{quoted(path)} does not exist in the registry", code=Code.FILE_NOT_FOUND)
