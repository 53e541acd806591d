"""What is measured when somebody asks for metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Measured(NamedTuple):
    """A gauge that is measured when it is asked for: its samples, by the value of its label."""

    name: str
    help: str
    label: str
    samples: Mapping[str, float]
