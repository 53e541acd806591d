"""What may be used of a copy that an earlier attempt has left."""

from __future__ import annotations

import itertools

import pytest

from gobbler.rules.resumption import LeftCopy, Use, use_of

COPIES = [LeftCopy(*known) for known in itertools.product((False, True), repeat=4)]


@pytest.mark.parametrize("copy", COPIES, ids=str)
def test_nothing_is_used_of_another_source(copy: LeftCopy) -> None:
    assert use_of(copy, same_source=False) is Use.NONE


@pytest.mark.parametrize("copy", COPIES, ids=str)
def test_each_use_needs_more_to_be_known_than_the_next(copy: LeftCopy) -> None:
    use = use_of(copy, same_source=True)
    assert (use is Use.NONE) == (not copy.is_closed), "its writer may come back"
    if use is Use.AS_A_BEGINNING:
        assert not copy.is_complete
    if use is Use.AFTER_READING:
        assert copy.is_complete
        assert not (copy.is_safe and copy.is_untouched)
    if use is Use.AS_IT_IS:
        assert copy == LeftCopy(True, True, True, True)
