"""Names of files in a store: which are good, how new ones are made, what a claim adds.

::

    new/report.json                     as it was published
    cur/report.json~5f0c9a2b71d4-1a     claimed: by whom, and the how many-th claim of theirs
    cur/..claimant-5f0c9a2b71d4         who that is; see gobbler.filestore.claimant

What a claim adds makes the name in ``cur`` one that never was and never will be again, so
whoever renames or removes it can only mean this claim and no later one of the same file.
"""

from __future__ import annotations

import os
import re
import secrets
import time

CLAIMANT_PREFIX = "..claimant-"

LONGEST = 255 - len("~5f0c9a2b71d4-") - 12
"""Bytes that a name may have so that there is room for what a claim adds."""

_MARK = re.compile(r"~([0-9a-f]{12})-[0-9a-f]{1,12}\Z")
_RECORD = re.compile(re.escape(CLAIMANT_PREFIX) + r"([0-9a-f]{12})\Z")


def unique_name() -> str:
    """A name that no other call on any host returns; later ones sort behind earlier ones.

    That order is by the host's clock.
    """
    return f"{time.time_ns():016x}-{secrets.token_hex(8)}"


def new_claimant() -> str:
    """A claimant that there was not before."""
    return secrets.token_hex(6)


def record_of(claimant: str) -> str:
    """The name of the file by which a claimant shows that it lives."""
    return CLAIMANT_PREFIX + claimant


def recorded(name: str) -> str:
    """The claimant whose record has that name; empty if it is no such name."""
    found = _RECORD.match(name)
    return found[1] if found else ""


def claimed(name: str, claimant: str, number: int) -> str:
    """The name in ``cur`` of a file whose name in ``new`` is ``name``."""
    return f"{original(name)}~{claimant}-{number:x}"


def marked(name: str) -> str:
    """A name that nothing has or foresees, of a file whose published name may be taken."""
    return claimed(name, new_claimant(), 0)


def original(name: str) -> str:
    """The name under which a file was published, whatever claims have added since."""
    return _MARK.sub("", name) or name


def claimant_of(name: str) -> str:
    """The claimant of a file in ``cur``; empty if nobody's claim made that name."""
    found = _MARK.search(name)
    return found[1] if found else ""


def is_hidden(name: str) -> bool:
    """Whether a file is not offered: by custom such names are not yet, or no more, work."""
    return name.startswith(".")


def checked(given: str | os.PathLike[str], directory: str) -> str:
    """The name of a file in ``directory``, given that name or the very path.

    Raises ``ValueError`` for anything that would lead elsewhere.
    """
    text = os.fspath(given)
    name = text.removeprefix(os.path.join(directory, ""))
    if name in ("", os.curdir, os.pardir) or os.path.basename(name) != name or "\0" in name:
        raise ValueError(f"{text!r} is not the name of a file in {directory!r}")
    if recorded(name):
        raise ValueError(f"{text!r} is a name that the store uses itself")
    return name
