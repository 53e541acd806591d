"""The filesystem's clock against the host's; how finely times are kept."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from gobbler.doctor import metadata
from gobbler.doctor.findings import Verdict

from .doctoring import FAULT, OK, TOPIC, WARNING


@pytest.mark.parametrize(
    ("behind", "verdict", "said"),
    [
        (0, OK, "differ by 0.0"),
        (1.5, OK, "differ by 1."),
        (-1.5, OK, "differ by 1."),
        (5, WARNING, "5.0 seconds behind that of this host"),
        (-5, WARNING, "5.0 seconds ahead of that of this host"),
        (29, WARNING, "29.0 seconds behind"),
        (31, FAULT, "31.0 seconds behind"),
        (-3600, FAULT, "3600.0 seconds ahead"),
    ],
)
def test_the_difference_of_the_clocks(
    tmp_path: Path, behind: float, verdict: Verdict, said: str
) -> None:
    found = metadata.clock(TOPIC, str(tmp_path), lambda: time.time() + behind)
    assert found.verdict is verdict
    assert said in found.sentence
    assert ("NTP" in found.remedy) == (verdict is not OK)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("unit", "verdict", "said"),
    [
        (1, OK, "1 ns"),
        (100, OK, "100 ns"),
        (1000, OK, "1 µs"),
        (1_000_000, OK, "1 ms"),
        (1_000_000_000, WARNING, "1 s only"),
        (2_000_000_000, WARNING, "2 s only"),
    ],
)
def test_how_finely_times_are_kept(tmp_path: Path, unit: int, verdict: Verdict, said: str) -> None:
    def kept(path: str) -> int:
        return os.stat(path).st_mtime_ns // unit * unit

    found = metadata.granularity(TOPIC, str(tmp_path), kept)
    assert found.verdict is verdict
    assert said in found.sentence
