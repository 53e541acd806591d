"""Whether the directories of a service can be used now.

A probe of a directory may hang with its mount. So each runs in a thread of its own, one at a time
for each directory, and whoever asks waits for a bounded time.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import NamedTuple

from gobbler.doctor import scratch
from gobbler.errors import Code, os_error_code
from gobbler.fs.open import DIRECTORY, closing, enter_directory, open_directory
from gobbler.model.jobs import CUR, NEW, SPOOL
from gobbler.model.names import INCOMING

logger = logging.getLogger(__name__)

PROBE_TIMEOUT = 2.0
"""Seconds after which a directory counts as hanging."""

VALID_FOR = 1.0
"""Seconds for which a result is used again, so that many who ask cost no more than one."""

PROBE_BYTES = b"\0" * 4096
"""What a probe writes: a full disk still takes an empty file."""


class PartHealth(NamedTuple):
    """Whether one directory can be used: ``reason`` and ``code`` say why not.

    ``free`` is the space that the account can still use, in bytes, where that is known.
    """

    usable: bool
    reason: str = ""
    code: Code | None = None
    free: int | None = None

    def to_dict(self) -> dict[str, object]:
        """The fields of an answer."""
        fields: dict[str, object] = {"usable": self.usable}
        if self.reason:
            fields |= {"reason": self.reason, "code": str(self.code)}
        if self.free is not None:
            fields["free_bytes"] = self.free
        return fields


class Health:
    """Probes staging, the registry and the spool."""

    def __init__(self, staging: str, registry: str, replay_guard: str) -> None:
        spool = f"{staging}/{SPOOL}"
        self._probes = {
            "registry": _Probe(registry, lambda: probe_writing(registry, f"{registry}/{INCOMING}")),
            "staging": _Probe(staging, lambda: probe_searching(staging)),
            "spool": _Probe(spool, lambda: _probe_spool(spool, replay_guard)),
        }

    def check(self) -> Mapping[str, PartHealth]:
        """Probe all of them; returns within :data:`PROBE_TIMEOUT` or so."""
        deadline = time.monotonic() + PROBE_TIMEOUT
        for probe in self._probes.values():
            probe.begin()
        return {name: probe.result(deadline) for name, probe in self._probes.items()}


class _Probe:
    def __init__(self, path: str, run: Callable[[], int | None]) -> None:
        self._path = path
        self._run = run
        self._changed = threading.Condition()
        self._since: float | None = None
        self._ended = -VALID_FOR
        self._last = PartHealth(usable=False)

    def begin(self) -> None:
        """Start a probe in the background, unless one runs or has just ended."""
        with self._changed:
            now = time.monotonic()
            if self._since is not None or now - self._ended < VALID_FOR:
                return
            self._since = now
        try:
            threading.Thread(target=self._probe, name="health", daemon=True).start()
        except RuntimeError as error:  # no thread can be started
            self._end(PartHealth(usable=False, reason=str(error), code=Code.INTERNAL_ERROR))

    def _probe(self) -> None:
        found = PartHealth(usable=False, reason="the probe failed", code=Code.INTERNAL_ERROR)
        try:
            found = PartHealth(usable=True, free=self._run())
        except OSError as error:
            reason = f"can't use {error.filename or self._path}: {error.strerror or error}"
            found = PartHealth(usable=False, reason=reason, code=os_error_code(error))
        except Exception:
            logger.exception("the probe of %s failed", self._path)
        finally:
            self._end(found)

    def _end(self, found: PartHealth) -> None:
        with self._changed:
            self._last, self._ended, self._since = found, time.monotonic(), None
            self._changed.notify_all()

    def result(self, deadline: float) -> PartHealth:
        """The result of the probe that runs or has just ended."""
        with self._changed:
            while self._since is not None and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(left)
            if self._since is None:
                return self._last
            seconds = time.monotonic() - self._since
        return PartHealth(
            usable=False,
            reason=f"{self._path} has not answered for {seconds:.0f} seconds",
            code=Code.TIMEOUT,
        )


def probe_searching(directory: str) -> None:
    """Look for a file in ``directory``, which need not be readable. Raises ``OSError``."""
    with closing(enter_directory(directory)) as descriptor, suppress(FileNotFoundError):
        os.stat(scratch.unique_name(), dir_fd=descriptor, follow_symlinks=False)


def probe_reading(directory: str) -> None:
    """Open ``directory``, and look for a file in it. Raises ``OSError``."""
    probe_searching(directory)
    os.close(open_directory(directory))


def probe_writing(directory: str, within: str) -> int:
    """Write a small file into ``within``, and remove it; the free bytes there.

    ``directory`` must be readable. Raises ``OSError``.
    """
    probe_reading(directory)
    with closing(os.open(within, DIRECTORY)) as descriptor:
        try:
            return _write_and_remove(descriptor)
        except OSError as error:
            error.filename = within
            raise


def _write_and_remove(directory: int) -> int:
    name = scratch.unique_name()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        with closing(os.open(name, flags, 0o600, dir_fd=directory)) as file:
            os.write(file, PROBE_BYTES)
            found = os.fstatvfs(file)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=directory)
    return found.f_bavail * found.f_frsize


def _probe_spool(spool: str, replay_guard: str) -> int:
    for directory in (NEW, CUR):
        probe_reading(f"{spool}/{directory}")
    return probe_writing(spool, replay_guard)
