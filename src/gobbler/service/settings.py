"""How a service is set up, and whether its directories allow it to work."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass

from gobbler.doctor.examination import own_directories, permissions, quick
from gobbler.doctor.findings import Finding, Place, Verdict
from gobbler.errors import Code, GobblerError, Misconfigured
from gobbler.fs.atomic_write import DIRECTORY_MODE
from gobbler.fs.flush import Durability
from gobbler.fs.layout import (
    REGISTRY_MODE,
    REQUESTS,
    STAGING_MODE,
    registry_directories,
    staging_directories,
)
from gobbler.fs.mounts import is_below, reports_all_changes
from gobbler.fs.open import account_name
from gobbler.index import Index
from gobbler.index.database import ForeignIndex, UnusableIndex
from gobbler.registry.registry import Registry
from gobbler.rules.dedup import Dedup
from gobbler.rules.permissions import Spoofable, parse_spoofing

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """All that ``gobbler serve`` can be told; see its ``--help``.

    Paths are absolute. ``concurrency`` is the number of batches of files that one HTTP
    worker copies at a time, and each job of the spool; ``grace`` is in seconds; with
    ``probation_days`` below 0, versions may stay on probation for ever. ``jobs`` of the spool
    are carried out at a time. ``index``: the file of the index, if there is to be one; ``dedup``
    beyond the latest version needs it. ``dask`` is the address of the scheduler of a Dask cluster
    that batches are sent to; empty: there is none.
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

    @property
    def replay_guard(self) -> str:
        """Where begun requests are remembered."""
        return f"{self.staging}/{REQUESTS}"

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
    for path, mode in (
        (top, DIRECTORY_MODE),
        (staging, STAGING_MODE),
        (registry, REGISTRY_MODE),
    ):
        try:
            _make_own(path, mode)
        except Misconfigured as error:
            raise Misconfigured(
                error.reason, hint="Name other directories with --staging and --registry."
            ) from None
    user = account_name(os.geteuid(), "this process")
    return Settings(staging, registry, frozenset([user]))


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
    own = (staging_directories(settings.staging), registry_directories(settings.registry))
    for place, directories in zip((staging, registry), own, strict=True):
        for path, mode in directories:
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


def check_index(settings: Settings) -> None:
    """Make sure that nobody else can write the index, and that it is of this registry.

    Raises :class:`~gobbler.service.settings.Misconfigured`; what only keeps the index from
    being used is logged.
    """
    if settings.index is None:
        return
    index = Index(settings.index, Registry(settings.registry))
    directory = os.path.realpath(os.path.dirname(index.path))
    for place in settings.places:
        if is_below(directory, os.path.realpath(place.path)):
            raise Misconfigured(
                f"the index {index.path} is in {place}",
                hint="Keep it in a directory of the service's own, on a local disk.",
            )
    _check_owner(directory, index.path)
    if not reports_all_changes(directory):
        logger.warning(
            "the index %s is not known to be on a local disk: locks of network filesystems may "
            "not be good enough for SQLite",
            index.path,
        )
    try:
        index.probe()
    except ForeignIndex as error:
        raise Misconfigured(
            f"the index {index.path} can't be used: {error}",
            hint="Give each registry a file of its own, or remove this one.",
        ) from None
    except UnusableIndex as error:
        logger.warning("the index %s can't be used yet: %s", index.path, error)


def _check_owner(directory: str, path: str) -> None:
    own = "Make it one of the service's own, which nobody else can write."
    try:
        status = os.stat(directory)
    except OSError as error:
        raise Misconfigured(
            f"the directory {directory} of the index can't be used: {error.strerror}", hint=own
        ) from None
    if not stat.S_ISDIR(status.st_mode):
        raise Misconfigured(f"{directory}, where the index is to be, is not a directory")
    if status.st_mode & stat.S_IWOTH:
        raise Misconfigured(
            f"the directory {directory} of the index can be written by everybody", hint=own
        )
    try:
        owner = os.lstat(path).st_uid
    except FileNotFoundError:
        return
    if owner != os.geteuid():
        raise Misconfigured(
            f"the index {path} belongs to another account",
            hint="Remove it: the service makes one of its own.",
        )
