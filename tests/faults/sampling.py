"""Every step; or of what takes long every third, unless ``GOBBLER_FAULTS_STEP`` is 1."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeVar

STEP = int(os.environ.get("GOBBLER_FAULTS_STEP", "3"))

T = TypeVar("T")


def sampled(points: Sequence[T], name: str) -> Sequence[T]:
    """The points that are tried, not the same ones for each ``name``."""
    return points[sum(name.encode()) % STEP :: STEP]
