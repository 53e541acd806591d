"""Notices: what users should know although nothing has failed, as Python warnings.

Filter them by class, as all warnings: ``warnings.simplefilter("ignore", LeftOut)``. The command
line prints them on standard error.
"""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Mapping

from gobbler.errors import GobblerWarning, printable, shortened
from gobbler.fs.umask import ADVICE, umask_problem


class LeftOut(GobblerWarning):
    """An upload leaves out names of the directory."""


class NotKept(GobblerWarning):
    """A version does not keep something of a file, such as that it is executable."""


class NothingNew(GobblerWarning):
    """An upload takes no file, or only what the latest version has."""


class Ignored(GobblerWarning):
    """The service ignores a part of the request."""


class Doubtful(GobblerWarning):
    """The service did what was asked, but it is hardly what was meant."""


class StepFailed(GobblerWarning):
    """An optional step failed; what was asked is done without it."""


MAX_REMARKS = 20
"""Largest number of remarks of a service of each kind that are shown."""


class Unvalidated(GobblerWarning):
    """No service answers, so what the cache has is used without asking whether it still exists."""


class Waiting(GobblerWarning):
    """This process waits for another one, which does what is asked, or should do it."""


class StillRunning(GobblerWarning):
    """The service may still carry out a request whose caller was interrupted."""


_SKIPPED = ("gobbler", "pygobbler", "contextlib")
"""Packages whose frames are not the caller's."""

_told: set[tuple[type[GobblerWarning], str]] = set()
_lock = threading.Lock()


def notify(text: str, category: type[GobblerWarning]) -> None:
    """Warn the caller of this package. ``text`` may name what comes from elsewhere."""
    warnings.warn(printable(text), category, stacklevel=_callers_level())


def notify_once(text: str, category: type[GobblerWarning]) -> None:
    """Like :func:`notify`, but only once in a process for the same ``text``."""
    with _lock:
        if (category, text) in _told:
            return
        _told.add((category, text))
    notify(text, category)


def notify_of_umask() -> None:
    """Warn the caller if the umask takes rights from the owner of what is created."""
    if (problem := umask_problem()) is not None:
        notify_once(f"{problem}: uploads and fetches may fail. {ADVICE}", Doubtful)


def notify_of_answer(answer: Mapping[str, object]) -> None:
    """Warn the caller of what the service remarks in the answer to a request."""
    for place in _texts(answer.get("ignored")):
        notify(f"the service ignored {place}, which has no meaning there", Ignored)
    for remark in _texts(answer.get("warnings")):
        notify(remark, Doubtful)


def _texts(listed: object) -> list[str]:
    found = listed if isinstance(listed, list | tuple) else ()
    return [shortened(text) for text in found[:MAX_REMARKS] if isinstance(text, str)]


def _callers_level() -> int:
    """The ``stacklevel`` of the nearest frame outside of this package, seen from :func:`notify`."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None:
        name = str(frame.f_globals.get("__name__", ""))
        if name.partition(".")[0] not in _SKIPPED:
            return level
        level, frame = level + 1, frame.f_back
    return level
