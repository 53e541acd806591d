"""Records in the cache: files that no manifest lists, above all the manifests themselves.

::

    files/{path in the registry}     the content
    validators/{digest of the path}  the fingerprint of that file, and the header of the service
                                     (ETag or Last-Modified) that identifies its content there

A version can be deleted, and another be published under its name. So the client asks whether a
record is still the same before it uses it, with a conditional request. Everything else in the
cache is as valid as the manifest that lists it.

The answer counts for a moment, as long as the request took: a program that opens thousands of
files of one version spends half of its time asking at most.
"""

from __future__ import annotations

import contextlib
import filecmp
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path

from gobbler.client.address import digest
from gobbler.client.cache.partial import Scratch, single_flight
from gobbler.client.cache.placement import LeaseProgress, flush_file, mark_used, put_file
from gobbler.client.cache.user_directory import is_own_file
from gobbler.client.download import SMALL_FILE, Downloaded, download, validator_of, write_file
from gobbler.client.http import Http, fetch_endpoint
from gobbler.client.notices import Unvalidated, notify
from gobbler.client.parallel import ForkSafeLock, Stop
from gobbler.errors import Code, Unreachable, quoted
from gobbler.fs.fingerprint import Fingerprint
from gobbler.model.names import MANIFEST
from gobbler.model.progress import NoProgress, Progress

LONGEST_WINDOW = 0.25
"""Seconds for which a record counts as valid at most after the service has answered."""

MANY_RECORDS = 1000
"""Number of records for which to remember that."""

OUTAGE_SECONDS = 60.0
"""Seconds for which the client does not ask again after no service answered."""


class Records:
    """The records of the service ``http`` in the cache; ``root`` returns where that is now."""

    def __init__(self, http: Http, root: Callable[[], Path]) -> None:
        self._http = http
        self._root = root
        self._lock = ForkSafeLock()
        self._valid_until: dict[str, float] = {}
        self._outage_until = 0.0

    def file(self, path: str, *, overwrite: bool = False, progress: Progress | None = None) -> str:
        """The path of a local copy of the registry's file ``path``, as the service has it now.

        With ``overwrite`` it is fetched in any case. If no service answers, a copy that is here
        counts as valid, and a warning says so. Raises :class:`~gobbler.errors.Missing` if the
        registry does not have it (any more).
        """
        target = str(self._root() / "files" / path)
        is_here = not overwrite and mark_used(target, is_own_file)
        if is_here and (self._is_valid(path) or self._validate(path, target)):
            return target
        self._fetch(path, target, progress or NoProgress())
        return target

    def tell_outage(self, error: Unreachable) -> None:
        """Warn, once in a while, that what is in the cache is used unvalidated."""
        with self._lock:
            told = time.monotonic() < self._outage_until
            self._outage_until = time.monotonic() + OUTAGE_SECONDS
        if not told and error.code != Code.OFFLINE:
            notify(f"{error.reason}; using what the cache has", Unvalidated)

    def _is_valid(self, path: str) -> bool:
        with self._lock:
            return time.monotonic() < max(self._valid_until.get(path, 0.0), self._outage_until)

    def _answered(self, path: str, started: float) -> None:
        """Count ``path`` as valid for a moment, after a request that ``started`` then."""
        now = time.monotonic()
        with self._lock:
            if len(self._valid_until) > MANY_RECORDS:
                self._valid_until.clear()
            self._valid_until[path] = now + min(now - started, LONGEST_WINDOW)

    def _validate(self, path: str, target: str) -> bool:
        """Ask whether the copy ``target`` is still the same; ``False``: fetch it again."""
        started = time.monotonic()
        headers = condition(self._root(), path)
        try:
            answer = self._http.answer(
                fetch_endpoint(path),
                headers=headers,
                accept=(304,) if headers else (),
                limit=SMALL_FILE,
                truncate=True,
            )
        except Unreachable as error:
            self.tell_outage(error)
            return True
        self._answered(path, started)
        if answer.status != 304:
            if len(answer.body) >= SMALL_FILE:
                return False
            if Path(target).read_bytes() == answer.body:
                self._remember(path, target, validator_of(answer.headers))
            else:
                self._replace(path, target, answer.body, validator_of(answer.headers))
        return True

    def _remember(self, path: str, target: str, validator: str) -> None:
        """Remember the ``validator`` of the copy ``target``; that only saves a later download."""
        beside = sidecar(self._root(), path)
        new = beside.with_name(f"{beside.name}.{secrets.token_hex(8)}")
        with contextlib.suppress(OSError):
            if not validator:
                beside.unlink(missing_ok=True)
                return
            beside.parent.mkdir(exist_ok=True)
            write_file(new, f"{_line(target)}\n{validator}".encode("latin-1", "replace"))
            new.replace(beside)

    def _replace(self, path: str, target: str, data: bytes, validator: str) -> None:
        with self._flight(path, target) as scratch:
            if scratch is None:
                return
            new = scratch.path / "file"
            write_file(new, data)
            self._put(path, target, scratch, Downloaded(new, validator))

    def _fetch(self, path: str, target: str, progress: Progress) -> None:
        with self._flight(path, target) as scratch:
            if scratch is None:
                return
            progress.expect(1, None)
            started = time.monotonic()
            with scratch.part(digest(path)) as part:
                renewing = LeaseProgress(progress, scratch)
                found = download(self._http, path, part, None, renewing, Stop())
                self._answered(path, started)
                new = scratch.path / "file"
                found.path.rename(new)
            if _has_same_content(new, target):
                self._remember(path, target, found.validator)
            else:
                self._put(path, target, scratch, Downloaded(new, found.validator))

    def _flight(self, path: str, target: str) -> contextlib.AbstractContextManager[Scratch | None]:
        before = _line(target)
        return single_flight(
            self._root(),
            digest(path),
            quoted(path),
            lambda: is_own_file(target) and _line(target) != before,
        )

    def _put(self, path: str, target: str, scratch: Scratch, found: Downloaded) -> None:
        flush_file(found.path)
        if path.endswith(f"/{MANIFEST}") and os.path.lexists(target):
            # Files of the version that had this name before would look damaged.
            with contextlib.suppress(OSError):
                os.rename(os.path.dirname(target), scratch.path / "former")
        put_file(found.path, target)
        self._remember(path, target, found.validator)


def sidecar(root: Path, path: str) -> Path:
    """Where the validator of the record ``path`` is, in the cache ``root`` of its service."""
    return root / "validators" / digest(path)


def condition(root: Path, path: str) -> dict[str, str]:
    """The header that asks for the record ``path`` only if the copy in ``root`` is another."""
    try:
        fingerprint, _, validator = sidecar(root, path).read_text("latin-1").partition("\n")
        if fingerprint != _line(f"{root}/files/{path}"):
            return {}
    except (OSError, ValueError):
        return {}
    name = "If-None-Match" if validator.startswith('"') else "If-Modified-Since"
    return {name: validator}


def _line(path: str) -> str:
    """The fingerprint of the file ``path`` as text; ``""`` if it is not there."""
    try:
        return " ".join(str(part) for part in Fingerprint.of(os.lstat(path)))
    except (FileNotFoundError, NotADirectoryError):
        return ""


def _has_same_content(new: Path, target: str) -> bool:
    try:
        return is_own_file(target) and filecmp.cmp(new, target, shallow=False)
    except OSError:  # it is damaged, so it is replaced
        return False
