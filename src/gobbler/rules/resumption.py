"""What an upload may use of a copy that an earlier attempt has left in its workspace.

Nobody but the service's account can write there, so a copy is damaged in two ways only:

- The process of the earlier attempt still lives, has the copy open, and goes on writing.
- The power was cut before the content was on disk.

A copy is *closed* if no process has it open for writing: its writer has closed it, or is known to
have ended. A silent writer may come back at any time, even after the publication.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Use(enum.Enum):
    """How a copy may be used; each needs less work than the next one."""

    AS_IT_IS = enum.auto()
    AFTER_READING = enum.auto()
    AS_A_BEGINNING = enum.auto()
    NONE = enum.auto()


@dataclass(frozen=True)
class LeftCopy:
    """What is known of a copy.

    ``is_closed``: see above. ``is_complete``: its checksum is known. ``is_safe``: its content was
    flushed, or this kernel has run ever since. ``is_untouched``: it is the file that was closed
    then, with the size and the time of its last change.
    """

    is_closed: bool
    is_complete: bool
    is_safe: bool = False
    is_untouched: bool = False


def use_of(copy: LeftCopy, *, same_source: bool) -> Use:
    """How to use ``copy``; ``same_source``: its source has not changed since it was made."""
    if not same_source or not copy.is_closed:
        return Use.NONE
    if not copy.is_complete:
        return Use.AS_A_BEGINNING
    return Use.AS_IT_IS if copy.is_safe and copy.is_untouched else Use.AFTER_READING
