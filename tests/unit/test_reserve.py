"""Who draws on a reserve has its space, whoever else would fill it meanwhile."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from gobbler.errors import Code, GobblerError
from gobbler.fs import reserve as reserves
from gobbler.fs.reserve import RESERVE_FILES, Reserve, is_drawn_on, with_reserve


@pytest.fixture
def reserve(tmp_path: Path) -> Reserve:
    made = Reserve(str(tmp_path / "reserve"))
    made.fill()
    assert len(os.listdir(made.directory)) == RESERVE_FILES
    return made


def full() -> OSError:
    return OSError(errno.ENOSPC, "no space")


def test_nobody_else_fills_a_reserve_that_is_drawn_on(reserve: Reserve) -> None:
    left = []

    def relieve() -> str:
        if not is_drawn_on():
            raise full()
        Reserve(reserve.directory).fill()  # as another process would
        left.extend(os.listdir(reserve.directory))
        return "done"

    assert with_reserve([reserve], relieve) == "done"
    assert left == []
    assert len(os.listdir(reserve.directory)) == RESERVE_FILES


def test_a_process_that_fills_it_for_long_is_not_waited_for(
    reserve: Reserve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reserves, "HOLD_SECONDS", 0.0)

    def relieve() -> str:
        if not is_drawn_on():
            raise full()
        return "done"

    with Reserve(reserve.directory).held(seconds=0.0) as is_held:
        assert is_held
        assert with_reserve([reserve], relieve) == "done"


def test_without_a_reserve_the_first_error_counts(tmp_path: Path) -> None:
    def relieve() -> None:
        raise GobblerError("no space", code=Code.DISK_FULL)

    with pytest.raises(GobblerError, match="no space"):
        with_reserve([Reserve(str(tmp_path / "none"))], relieve)
