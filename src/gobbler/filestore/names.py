"""Names of files in a store: which are valid, how unique ones are made, what a claim appends.

::

    new/report.json                     as it was published
    cur/report.json~5f0c9a2b71d4-1a     claimed: the claimant, and the number of its claim
    cur/..claimant-5f0c9a2b71d4         the lease of that claimant; see gobbler.filestore.claimant

A claim appends what makes the name in ``cur`` unique for all time. A process that renames or
removes that name therefore means this claim, and never a later claim of the same file.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import time

CLAIMANT_PREFIX = "..claimant-"

LONGEST = 255 - len("~5f0c9a2b71d4-") - 12
"""Longest name in bytes: a claim needs the rest for its suffix."""

_MARK = re.compile(r"~([0-9a-f]{12})-[0-9a-f]{1,12}\Z")
_LEASE = re.compile(re.escape(CLAIMANT_PREFIX) + r"([0-9a-f]{12})\Z")


def unique_name() -> str:
    """A name that no other call on any host returns.

    Names sort in the order of the calls, by the clock of the host.
    """
    return f"{time.time_ns():016x}-{secrets.token_hex(8)}"


def new_claimant_id() -> str:
    """The ID of a new claimant."""
    return secrets.token_hex(6)


def lease_name(claimant: str) -> str:
    """The name in ``cur`` of the lease of a claimant."""
    return CLAIMANT_PREFIX + claimant


def claimant_of_lease(name: str) -> str:
    """The claimant whose lease has that ``name``; empty if it is no name of a lease."""
    found = _LEASE.match(name)
    return found[1] if found else ""


def claimed_name(name: str, claimant: str, number: int) -> str:
    """The name in ``cur`` of a file whose name in ``new`` is ``name``."""
    return f"{published_name(name)}~{claimant}-{number:x}"


def check_length(name: str) -> None:
    """Raise ``OSError`` (``ENAMETOOLONG``) for a name to which a claim can't append its suffix."""
    if len(os.fsencode(published_name(name))) > LONGEST:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), name)


def aside_name(name: str) -> str:
    """A unique name for a file that is set aside; a name that is too long is cut off."""
    return marked_name(os.fsdecode(os.fsencode(published_name(name))[:LONGEST]))


def marked_name(name: str) -> str:
    """A unique name for a file whose published name may be taken."""
    return claimed_name(name, new_claimant_id(), 0)


def published_name(name: str) -> str:
    """The name under which a file was published, without what claims have appended."""
    return _MARK.sub("", name) or name


def claimant_of(name: str) -> str:
    """The claimant of a file in ``cur``; empty if no claim made that name."""
    found = _MARK.search(name)
    return found[1] if found else ""


def is_hidden(name: str) -> bool:
    """Whether a file is not offered: by custom a leading dot marks what is not complete."""
    return name.startswith(".")


def checked_name(given: str | os.PathLike[str], directory: str) -> str:
    """The name of a file in ``directory``, given as that name or as its path.

    Raises ``ValueError`` for anything that leads out of the directory.
    """
    text = os.fspath(given)
    name = text.removeprefix(os.path.join(directory, ""))
    if name in ("", os.curdir, os.pardir) or os.path.basename(name) != name or "\0" in name:
        raise ValueError(f"{text!r} is not the name of a file in {directory!r}")
    if claimant_of_lease(name):
        raise ValueError(f"{text!r} is a name that the store itself uses")
    return name
