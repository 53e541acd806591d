"""Who may act for whom: the lines of the spoof file.

A line is ``user:other,other``. ``*`` stands for everyone, ``-name`` takes one out of
``*``. A line with no names is ignored; a later line for the same user replaces an
earlier one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gobbler.errors import Code, Refused

EVERYONE = "*"


@dataclass(frozen=True)
class Spoofable:
    """The users for whom one user may act."""

    named: frozenset[str]
    excluded: frozenset[str]

    def covers(self, user: str) -> bool:
        """Whether ``user`` is among them."""
        return user in self.named or (EVERYONE in self.named and user not in self.excluded)


def parse_spoofing(lines: Iterable[str]) -> dict[str, Spoofable]:
    """Read the lines of a spoof file.

    Raises :class:`~gobbler.errors.Refused` that names the line that can't be read.
    """
    found: dict[str, Spoofable] = {}
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text:
            continue
        user, colon, others = text.partition(":")
        user = user.strip()
        if not colon or not user:
            raise Refused(
                f"line {number} is not of the form `user:other,other`: {text!r}",
                code=Code.INVALID_CONFIGURATION,
            )
        names = [name for part in others.split(",") if (name := part.strip())]
        if names:
            found[user] = Spoofable(
                frozenset(name for name in names if not name.startswith("-")),
                frozenset(name[1:] for name in names if name.startswith("-")),
            )
    return found


def may_spoof(user: str, other: str, spoofing: Mapping[str, Spoofable]) -> bool:
    """Whether ``user`` may act for ``other``."""
    return user in spoofing and spoofing[user].covers(other)
