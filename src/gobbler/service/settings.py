"""How a service is set up, and whether its directories allow it to work."""

from __future__ import annotations

import errno
import os
import socket
import stat
from dataclasses import dataclass

from gobbler.disk.flushing import Durability
from gobbler.disk.writing import DIRECTORY_MODE, PRIVATE_DIRECTORY_MODE
from gobbler.errors import GobblerError
from gobbler.names import INCOMING, LOGS
from gobbler.rules.links import below
from gobbler.rules.spoofing import Spoofable, parse_spoofing

BEGUN = "..requests"
"""Directory in staging, the service's own, that remembers which requests were begun."""


class Misconfigured(GobblerError):
    """The service can't start with these settings or directories."""


@dataclass(frozen=True)
class Settings:
    """All that ``gobbler serve`` can be told; see its ``--help``.

    Paths are absolute. ``concurrency`` is the number of batches of files that one worker
    process copies at a time; ``grace`` is in seconds; with ``probation_days`` below 0, versions
    may stay on probation for ever.
    """

    staging: str
    registry: str
    admins: frozenset[str]
    host: str = "127.0.0.1"
    port: int = 8080
    prefix: str = ""
    concurrency: int = 2
    workers: int = 1
    whitelist: tuple[str, ...] = ()
    spoofing: tuple[tuple[str, Spoofable], ...] = ()
    durability: Durability = Durability.FULL
    grace: float = 30.0
    probation_days: float = -1.0

    @property
    def begun(self) -> str:
        """Where begun requests are remembered."""
        return f"{self.staging}/{BEGUN}"


def read_whitelist(path: str) -> tuple[str, ...]:
    """The directories of a whitelist file, one absolute path a line; each as it is given
    and with its own links resolved.
    """
    found: list[str] = []
    for number, line in enumerate(_lines(path, "whitelist"), 1):
        text = line.strip()
        if not text:
            continue
        if not os.path.isabs(text):
            raise Misconfigured(f"{path}, line {number}: {text!r} is not an absolute path")
        found += [os.path.normpath(text), os.path.realpath(text)]
    return tuple(dict.fromkeys(found))


def read_spoofing(path: str) -> tuple[tuple[str, Spoofable], ...]:
    """The rules of a spoof file."""
    try:
        return tuple(parse_spoofing(_lines(path, "spoof")).items())
    except Misconfigured:
        raise
    except GobblerError as error:
        raise Misconfigured(f"{path}: {error}") from None


def _lines(path: str, what: str) -> list[str]:
    try:
        with open(path, encoding="utf-8") as handle:
            return handle.read().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise Misconfigured(f"the {what} file {path} can't be read: {reason}") from None


def check_directories(settings: Settings) -> None:
    """Make sure that staging and registry are there and allow the service to work.

    Makes the service's own directories in them. Raises :class:`Misconfigured`.
    """
    for what, path in (("staging", settings.staging), ("registry", settings.registry)):
        _check_directory(what, path)
    _check_apart(settings)
    _make_own(f"{settings.registry}/{LOGS}", DIRECTORY_MODE)
    _make_own(f"{settings.registry}/{INCOMING}", PRIVATE_DIRECTORY_MODE)
    _make_own(settings.begun, PRIVATE_DIRECTORY_MODE)


def _check_directory(what: str, path: str) -> None:
    account = f"the service's account (user ID {os.geteuid()})"
    try:
        status = os.stat(path)
    except FileNotFoundError:
        raise Misconfigured(
            f"the {what} directory {path} does not exist",
            hint=f"Make it first: mkdir -m {'1777' if what == 'staging' else '0755'} {path}",
        ) from None
    except OSError as error:
        raise Misconfigured(f"the {what} directory {path}: {error.strerror}") from None
    if not stat.S_ISDIR(status.st_mode):
        raise Misconfigured(f"the {what} {path} is not a directory")
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK, effective_ids=True):
        raise Misconfigured(
            f"{account} can't write to the {what} directory {path}",
            hint="Give it to that account (chown), or run the service as another one.",
        )
    if what == "registry" and status.st_mode & stat.S_IWOTH:
        raise Misconfigured(
            f"the registry directory {path} can be written by everybody",
            hint=f"Only the service may write there: chmod o-w {path}",
        )


def _check_apart(settings: Settings) -> None:
    staging, registry = os.path.realpath(settings.staging), os.path.realpath(settings.registry)
    if below(staging, registry) is not None or below(registry, staging) is not None:
        raise Misconfigured(
            f"staging {settings.staging} and registry {settings.registry} overlap",
            hint="Neither may be, or be inside of, the other: users write to staging.",
        )


def _make_own(path: str, mode: int) -> None:
    try:
        os.mkdir(path, mode)
    except FileExistsError:
        status = os.lstat(path)
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
            raise Misconfigured(
                f"{path} is not a directory of the service's own account",
                hint="Somebody else made it. Remove it; the service makes it anew.",
            ) from None
    except OSError as error:
        raise Misconfigured(f"{path} can't be made: {error.strerror}") from None


def check_address(host: str, port: int) -> None:
    """Make sure that the service can listen at ``host`` and ``port``."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            # Only a listening socket finds out about one that may share the port.
            probe.listen(1)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise Misconfigured(
                f"port {port} of {host} is in use by another process",
                hint="Choose another one with --port, or stop that process.",
            ) from None
        raise Misconfigured(f"can't listen at {host}, port {port}: {error.strerror}") from None
