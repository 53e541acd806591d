"""What the benchmarks have measured: the history, and its tables.

``docs/performance.jsonl`` holds one JSON object a line: what ``make bench`` measured of one commit
on one machine and filesystem, against one peer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict

HISTORY = Path(__file__).parents[1] / "performance.jsonl"


class Case(TypedDict, total=False):
    """Seconds of each side; ``ratio``: peer by ours; ``processor``: the same of processor seconds.

    ``goal``: the ratio that is wanted, or ``within``: the most seconds. ``least``: seconds of the C
    program, by threads. ``phases``: seconds of ours, by name.
    """

    ours: float
    peer: float
    ratio: float
    processor: float
    goal: float
    within: float
    least: dict[str, float]
    phases: dict[str, float]


class Line(TypedDict):
    """One line of the history. ``memory``: bytes of all processes of each side."""

    date: str
    commit: str
    machine: dict[str, str]
    filesystem: str
    peer: str
    runs: int
    cases: dict[str, Case]
    memory: dict[str, int]


def read(path: Path = HISTORY) -> list[Line]:
    """All lines, in their order; none if there is no file."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]


def is_below(case: Case) -> bool:
    """Whether a case misses its goal."""
    if "within" in case:
        return case["ours"] > case["within"]
    return "goal" in case and "ratio" in case and case["ratio"] < case["goal"]


def head(ours: str, peer: str) -> str:
    """The head of the table of two sides."""
    heads = ["case", ours, peer, "ratio", "processor", "goal", ""]
    return f"| {' | '.join(heads)} |\n| --- {'| ---: ' * (len(heads) - 2)}| --- |"


def row(title: str, case: Case) -> str:
    """One row: the times, how many times as fast, and whether that is enough."""
    cells = [
        title,
        duration(case["ours"]),
        duration(case["peer"]) if "peer" in case else "",
        f"{case['ratio']:.2f}" if "ratio" in case else "",
        f"{case['processor']:.2f}" if "processor" in case else "",
        f"{case['within']:g} s" if "within" in case else f"{case['goal']:g}",
        "below" if is_below(case) else "",
    ]
    return f"| {' | '.join(cells)} |"


MEMORY_GOAL = 100.0
"""MB that all processes of the service shall take after the run, at most."""


def memory_row(memory: Mapping[str, int]) -> str:
    """The row of what all processes of each side take."""
    told = [
        f"{memory[side] / 1e6:.0f} MB" if side in memory else "not known"
        for side in ("ours", "peer")
    ]
    below = "below" if memory.get("ours", 0) / 1e6 > MEMORY_GOAL else ""
    title = "memory of all processes after this run"
    return f"| {title} | {' | '.join(told)} | | | {MEMORY_GOAL:.0f} MB | {below} |"


def table(line: Line) -> str:
    """The whole table of one line."""
    rows = [row(title, case) for title, case in line["cases"].items()]
    return "\n".join([head("ours", line["peer"]), *rows, memory_row(line["memory"])])


def limit_table(cases: Mapping[str, Case]) -> str:
    """How far each case is from the C program, in milliseconds; empty without that program."""
    measured = {title: case for title, case in cases.items() if "least" in case}
    if not measured:
        return ""
    widths = sorted({int(n) for case in measured.values() for n in case["least"]})
    programs = [f"C, {threads} thread{'s' if threads > 1 else ''}" for threads in widths]
    heads = ["case", *programs, "ours", "distance"]
    lines = [f"| {' | '.join(heads)} |", "| --- " + "| ---: " * (len(heads) - 1) + "|"]
    for title, case in measured.items():
        least = case["least"]
        cells = [title, *(_milliseconds(least.get(str(n))) for n in widths)]
        cells += [_milliseconds(case["ours"]), f"{case['ours'] / min(least.values()):.1f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def phase_table(cases: Mapping[str, Case]) -> str:
    """Where the time of each upload goes, in milliseconds; empty if no case tells."""
    measured = {title: case["phases"] for title, case in cases.items() if "phases" in case}
    names = list(dict.fromkeys(name for phases in measured.values() for name in phases))
    if not names:
        return ""
    lines = [f"| case | {' | '.join(names)} |", "| --- " + "| ---: " * len(names) + "|"]
    for title, phases in measured.items():
        cells = [_milliseconds(phases.get(name)) for name in names]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _milliseconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds * 1000:.0f}"


def duration(seconds: float) -> str:
    """Seconds, in the unit in which people read them."""
    return f"{seconds:.2f} s" if seconds >= 0.1 else f"{seconds * 1000:.1f} ms"
