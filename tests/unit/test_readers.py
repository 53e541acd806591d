"""Who may read a version, by the modes of its directories."""

from __future__ import annotations

import pytest

from gobbler.rules.readers import Readers


def readers(*directories: tuple[int, int]) -> Readers:
    found = Readers()
    for mode, gid in directories:
        found = found.within(mode, gid)
    return found


@pytest.mark.parametrize(
    ("linked", "new", "may"),
    [
        ([(0o755, 1)], [(0o755, 2)], True),
        ([(0o755, 1)], [(0o700, 2)], True),
        ([(0o711, 1)], [(0o755, 2)], True),
        ([(0o750, 1)], [(0o755, 1)], False),
        ([(0o700, 1)], [(0o755, 1)], False),
        ([(0o705, 1)], [(0o755, 1)], False),
        ([(0o750, 1)], [(0o750, 1)], True),
        ([(0o750, 1)], [(0o750, 2)], False),
        ([(0o750, 1)], [(0o750, 1), (0o750, 2)], True),
        ([(0o750, 1), (0o750, 2)], [(0o750, 1)], False),
        ([(0o700, 1)], [(0o750, 1)], False),
        ([(0o700, 1)], [(0o700, 2)], True),
        ([(0o750, 1)], [(0o700, 2)], True),
        ([(0o755, 1), (0o750, 1), (0o755, 1)], [(0o755, 1)], False),
    ],
)
def test_a_link_tells_nobody_more_than_they_may_read(
    linked: list[tuple[int, int]], new: list[tuple[int, int]], may: bool
) -> None:
    assert readers(*linked).include(readers(*new)) == may
