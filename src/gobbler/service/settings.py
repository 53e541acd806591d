"""The settings of a service, and the checks of its directories and its index."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field

from gobbler.doctor.examination import own_directories, permissions, quick
from gobbler.doctor.findings import Finding, Place, Verdict
from gobbler.errors import Code, GobblerError, Misconfigured, quoted
from gobbler.fs import acl
from gobbler.fs.accounts import without_account
from gobbler.fs.atomic_write import DIRECTORY_MODE
from gobbler.fs.authorship import Authorship
from gobbler.fs.flush import Durability
from gobbler.fs.layout import (
    REGISTRY_MODE,
    REQUESTS,
    STAGING_MODE,
    make_directory,
    registry_directories,
    staging_directories,
)
from gobbler.fs.mounts import is_below, reports_all_changes
from gobbler.fs.open import DIRECTORY, account_name, closing
from gobbler.fs.utf8_mode import check_utf8
from gobbler.index import Index
from gobbler.index.database import ForeignIndex, UnusableIndex
from gobbler.model.jobs import SPOOL
from gobbler.registry.registry import Registry
from gobbler.rules.dedup import Dedup
from gobbler.rules.permissions import EVERYONE, Spoofable, parse_spoofing
from gobbler.spool.replay_guard import ReplayGuard

logger = logging.getLogger(__name__)

ACCOUNTS_SECONDS = 5.0
"""Seconds that looking up accounts may take when a service starts."""


MOST_PROCESSES = 8
"""Local processes at most, unless an administrator wants more."""


def default_processes() -> int:
    """As many local processes as processors; 0 for a single one, where threads do as well."""
    processors = len(os.sched_getaffinity(0))
    return min(processors, MOST_PROCESSES) if processors > 1 else 0


@dataclass(frozen=True)
class Settings:
    """The settings of ``gobbler serve`` and ``gobbler worker``; see their ``--help``.

    Paths are absolute. ``concurrency`` is how many batches of files one HTTP worker, or one job
    of the spool, runs at a time; ``jobs`` is how many jobs run at a time. ``processes`` is how
    many local processes one of the service may start for many small files. ``grace`` is in
    seconds. With ``probation_days`` below 0, probation never expires. ``index`` is the file of
    the index, or ``None``; ``dedup`` beyond the latest version needs it. ``dask`` is the address
    of a Dask scheduler that runs batches, or empty. With ``trust_groups``, request files and
    sources may be writable by their group.
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
    trust_groups: bool = False
    processes: int = field(default_factory=default_processes)

    @property
    def authorship(self) -> Authorship:
        """The rule who is the author of what users put into staging."""
        return Authorship(self.trust_groups)

    @property
    def replay_guard(self) -> str:
        """The directory of the replay guard."""
        return f"{self.staging}/{REQUESTS}"

    @property
    def places(self) -> tuple[Place, Place]:
        """Staging and registry, for the probes of the doctor."""
        return Place("staging", self.staging), Place("registry", self.registry)


DEFAULT_DIRECTORY = "gobbler-data"
"""Holds staging and registry of a service that is started without options."""


def default_settings() -> Settings:
    """Settings for a first try: staging and registry below the current directory.

    Makes ``gobbler-data/staging`` (mode 1733) and ``gobbler-data/registry`` where they are
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
    """The directories of a whitelist file, which has one absolute path a line.

    Each is returned as it is given, and with its own links resolved. Raises
    :class:`~gobbler.errors.Misconfigured`.
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
    """The rules of a spoof file. Raises :class:`~gobbler.errors.Misconfigured`."""
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
    """Check that staging and registry exist and suit a service; make its directories in them.

    Raises :class:`~gobbler.errors.Misconfigured` if a service would be unsafe, or would not work
    at all. Other problems are logged.
    """
    check_utf8()
    staging, registry = settings.places
    _heed(permissions(staging, registry))
    if os.path.isdir(f"{settings.staging}/{SPOOL}"):
        # Without the marks of requests that were begun, older request files must be refused.
        _restore_marks(settings.replay_guard)
    own = (staging_directories(settings.staging), registry_directories(settings.registry))
    for place, directories in zip((staging, registry), own, strict=True):
        for path, mode in directories:
            _make_own(path, mode)
        _refuse(own_directories(place))  # another user may have made it
    for path, mode in staging_directories(settings.staging):
        _drop_acls(path, mode)
    _heed(quick(registry), f"{registry}: ")


def check_accounts(settings: Settings) -> None:
    """Warn of administrators, and of names in the spoof file, that are no accounts here."""
    named = [user for user, _ in settings.spoofing]
    named += [name for _, others in settings.spoofing for name in others.named if name != EVERYONE]
    for what, names in (("administrator", settings.admins), ("user of the spoof file", named)):
        for name in without_account(sorted(names), ACCOUNTS_SECONDS):
            logger.warning("%s %s has no account on this host", what, quoted(name))


def _heed(findings: Iterable[Finding], prefix: str = "") -> None:
    found = _refuse(findings, prefix)
    for finding in found:
        if finding.verdict is not Verdict.OK:
            logger.warning("%s%s. %s", prefix, finding.sentence, finding.remedy)


def _refuse(findings: Iterable[Finding], prefix: str = "") -> list[Finding]:
    found = list(findings)  # all of them: the last step removes the probes
    for finding in found:
        if finding.refused:
            raise Misconfigured(prefix + finding.sentence, hint=finding.remedy)
    return found


def _drop_acls(path: str, mode: int) -> None:
    """Remove what a default ACL of staging gave to the service's own directory ``path``."""
    with closing(os.open(path, DIRECTORY)) as opened:
        if acl.has_any(opened):
            acl.remove(opened, mode)
            logger.info("removed the ACLs of %s, which it had from a default ACL above", path)


def _restore_marks(directory: str) -> None:
    try:
        ReplayGuard(directory).restore()
    except GobblerError as error:
        raise Misconfigured(error.reason, hint=error.hint) from None
    except OSError as error:
        raise Misconfigured(f"could not make the directory {directory}: {error.strerror}") from None


def _make_own(path: str, mode: int) -> None:
    try:
        make_directory(path, mode)
    except OSError as error:
        raise Misconfigured(f"could not make the directory {path}: {error.strerror}") from None


def warn_about_root() -> None:
    """Log a warning if this process runs as root."""
    if os.geteuid() == 0:
        logger.warning(
            "this process runs as root, whose rights it does not need; run it as an account of its "
            "own that owns the registry"
        )


def check_index(settings: Settings) -> None:
    """Check that only this account can write the index, and that it is of this registry.

    Raises :class:`~gobbler.errors.Misconfigured`. A problem that only makes the index unusable is
    logged.
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
            "the index %s may be on a network filesystem, whose locks may be too weak for SQLite; "
            "keep it on a local disk",
            index.path,
        )
    try:
        index.probe()
    except ForeignIndex as error:
        raise Misconfigured(
            f"could not use the index {index.path}: {error}",
            hint="Give each registry an index of its own with --index, or remove this one.",
        ) from None
    except UnusableIndex as error:
        logger.warning("could not use the index %s yet: %s", index.path, error)


def _check_owner(directory: str, path: str) -> None:
    own = "Use a directory that only the service can write."
    try:
        status = os.stat(directory)
    except OSError as error:
        raise Misconfigured(
            f"could not use the directory {directory} of the index: {error.strerror}", hint=own
        ) from None
    if not stat.S_ISDIR(status.st_mode):
        raise Misconfigured(f"{directory}, which should hold the index, is not a directory")
    if status.st_mode & stat.S_IWOTH:
        raise Misconfigured(
            f"everybody can write to the directory {directory} of the index", hint=own
        )
    try:
        owner = os.lstat(path).st_uid
    except FileNotFoundError:
        return
    if owner != os.geteuid():
        raise Misconfigured(
            f"the index {path} belongs to another account",
            hint="Remove it: the service makes a new one.",
        )
