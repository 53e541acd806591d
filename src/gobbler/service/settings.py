"""How a service is set up, and whether its directories allow it to work."""

from __future__ import annotations

import errno
import logging
import os
import socket
from collections.abc import Iterable
from dataclasses import dataclass

from gobbler.doctor.examination import own_directories, permissions, quick
from gobbler.doctor.findings import Finding, Verdict
from gobbler.doctor.places import BEGUN, Place
from gobbler.errors import Code, GobblerError, Misconfigured
from gobbler.fs.flush import Durability
from gobbler.fs.open import account_name
from gobbler.rules.dedup import Dedup
from gobbler.rules.spoof import Spoofable, parse_spoofing

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """All that ``gobbler serve`` can be told; see its ``--help``.

    Paths are absolute. ``concurrency`` is the number of batches of files that one HTTP
    worker copies at a time, and each job of the spool; ``grace`` is in seconds; with
    ``probation_days`` below 0, versions may stay on probation for ever. ``jobs`` of the spool
    are carried out at a time. ``index``: the file of the index, if there is to be one; ``dedup``
    beyond the latest version needs it. ``dask`` is the address of the scheduler of a Dask cluster
    that batches are sent to; empty: there is none. ``by_default``: they were made by
    :func:`default_settings`, and the service logs what that chose.
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
    jobs: int = 4
    index: str | None = None
    dedup: Dedup = Dedup.LATEST
    dask: str = ""
    by_default: bool = False

    @property
    def replay_guard(self) -> str:
        """Where begun requests are remembered."""
        return f"{self.staging}/{BEGUN}"

    @property
    def places(self) -> tuple[Place, Place]:
        """Staging and registry, for probing them."""
        return Place("staging", self.staging), Place("registry", self.registry)


DEFAULT_DIRECTORY = "gobbler-data"
"""Holds staging and registry of a service that is started without options."""


def default_settings() -> Settings:
    """Settings for a first try: staging and registry below the current directory.

    Makes ``gobbler-data/staging`` (mode 1777) and ``gobbler-data/registry`` where they are
    missing. The service listens at 127.0.0.1, and the account that runs it is the
    administrator. Use :func:`dataclasses.replace` to set anything else.

    Raises :class:`~gobbler.errors.Misconfigured` if the directories can't be made.
    """
    top = os.path.abspath(DEFAULT_DIRECTORY)
    staging, registry = f"{top}/staging", f"{top}/registry"
    for path, mode in ((top, 0o755), (staging, 0o1777), (registry, 0o755)):
        try:
            _make_own(path, mode)
        except Misconfigured as error:
            raise Misconfigured(
                error.reason, hint="Name other directories with --staging and --registry."
            ) from None
    user = account_name(os.geteuid(), "this process")
    return Settings(staging, registry, frozenset([user]), by_default=True)


def log_defaults(settings: Settings) -> None:
    """Log what :func:`default_settings` chose, and how to choose otherwise."""
    if settings.by_default:
        logger.info(
            "no directories were given: staging is %s (--staging), the registry %s (--registry), "
            "the administrator %s (--admin), the address %s (--host, --port)",
            settings.staging,
            settings.registry,
            ", ".join(sorted(settings.admins)) or "nobody",
            f"{settings.host}:{settings.port}",
        )


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
            raise Misconfigured(
                f"{path}, line {number}: {text!r} is not an absolute path",
                code=Code.INVALID_CONFIGURATION,
            )
        found += [os.path.normpath(text), os.path.realpath(text)]
    return tuple(dict.fromkeys(found))


def read_spoofing(path: str) -> tuple[tuple[str, Spoofable], ...]:
    """The rules of a spoof file."""
    try:
        return tuple(parse_spoofing(_lines(path, "spoof")).items())
    except Misconfigured:
        raise
    except GobblerError as error:
        raise Misconfigured(f"{path}: {error}", code=Code.INVALID_CONFIGURATION) from None


def _lines(path: str, what: str) -> list[str]:
    try:
        with open(path, encoding="utf-8") as handle:
            return handle.read().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise Misconfigured(
            f"could not read the {what} file {path}: {reason}", code=Code.INVALID_CONFIGURATION
        ) from None


def check_directories(settings: Settings) -> None:
    """Make sure that staging and registry are there and allow the service to work.

    Makes the service's own directories in them. Raises :class:`Misconfigured` where nothing
    would be safe, or nothing would work; what else is wrong is logged.
    """
    staging, registry = settings.places
    _heed(permissions(staging, registry))
    for place in (staging, registry):
        for path, mode in place.own:
            _make_own(path, mode)
        _refuse(own_directories(place))  # somebody may have been quicker
    _heed(quick(registry), f"{registry}: ")


def _heed(findings: Iterable[Finding], prefix: str = "") -> None:
    found = _refuse(findings, prefix)
    for finding in found:
        if finding.verdict is not Verdict.OK:
            logger.warning("%s%s. %s", prefix, finding.sentence, finding.remedy)


def _refuse(findings: Iterable[Finding], prefix: str = "") -> list[Finding]:
    found = list(findings)  # to the end: only then are probes cleaned up after
    for finding in found:
        if finding.refused:
            raise Misconfigured(prefix + finding.sentence, hint=finding.remedy)
    return found


def _make_own(path: str, mode: int) -> None:
    try:
        os.mkdir(path, mode)
        os.chmod(path, mode)  # the umask took from it, and not every mkdir heeds the sticky bit
    except FileExistsError:
        return
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
            raise in_use(host, port) from None
        raise Misconfigured(f"can't listen at {host}, port {port}: {error.strerror}") from None


def in_use(host: str, port: int) -> Misconfigured:
    """The error for an address at which another process listens, or is about to."""
    return Misconfigured(
        f"port {port} of {host} is in use by another process",
        hint="Choose another one with --port, or stop that process.",
    )
