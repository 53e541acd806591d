"""Add what was measured to the history in ``docs/performance.jsonl``.

A line holds one commit on one machine, filesystem, and against one peer. Cases that are measured
there again replace what the line says of them, so a table can be measured in several runs.
``make docs`` draws the manual's tables and its graph from the history.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from bench.cases import TABLE
from bench.comparison import Comparison
from docs.generate.measured import HISTORY, Case, Line, read

ROOT = Path(__file__).parents[1]


def record(line: Line, path: Path = HISTORY) -> None:
    """Add ``line``, or merge it into the line of the same commit and place.

    Cases stand in the order of the table. Of memory, the most after any of the runs counts.
    """
    lines = read(path)
    former = next((known for known in lines if _place(known) == _place(line)), None)
    if former is None:
        lines.append(line)
    else:
        former["cases"] = in_order(former["cases"] | line["cases"])
        for side, size in line["memory"].items():
            former["memory"][side] = max(size, former["memory"].get(side, 0))
        former["date"], former["runs"] = line["date"], line["runs"]
    made = path.with_name(f".{path.name}.{os.getpid()}")
    made.write_text("".join(json.dumps(known) + "\n" for known in lines))
    made.replace(path)


def _place(line: Line) -> tuple[object, ...]:
    return line["commit"], line["machine"], line["filesystem"], line["peer"]


def in_order(cases: dict[str, Case]) -> dict[str, Case]:
    """The cases in the order of the table; those that it no longer has are dropped."""
    titles = [kind.title for kind in TABLE]
    return {title: cases[title] for title in titles if title in cases}


def line_of(
    comparisons: Iterable[Comparison],
    *,
    commit: str,
    filesystem: str,
    peer: str,
    runs: int,
    memory: dict[str, int],
) -> Line:
    """The line of what was compared now, on this machine."""
    return {
        "date": dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds"),
        "commit": commit,
        "machine": machine(),
        "filesystem": filesystem,
        "peer": peer,
        "runs": runs,
        "cases": in_order({found.kind.title: case_of(found) for found in comparisons}),
        "memory": memory,
    }


def case_of(found: Comparison) -> Case:
    """What the history keeps of a comparison."""
    kind = found.kind
    case: Case = {"ours": round(found.sides[0].seconds, 6)}
    if found.ratio is not None:
        case["peer"] = round(found.sides[1].seconds, 6)
        case["ratio"] = round(found.ratio, 3)
    if found.processor_ratio is not None:
        case["processor"] = round(found.processor_ratio, 3)
    if kind.within is not None:
        case["within"] = kind.within
    elif kind.goal is not None:
        case["goal"] = kind.goal
    if found.least:
        case["least"] = {str(n): round(took, 6) for n, took in found.least.items()}
    if found.sides[0].phases:
        case["phases"] = {name: round(s, 6) for name, s in found.sides[0].phases.items()}
    return case


def machine() -> dict[str, str]:
    """What the figures depend on, besides the code."""
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            model = value.strip()
            break
    return {
        "processor": model,
        "processors": str(len(os.sched_getaffinity(0))),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def present_commit(top: Path = ROOT) -> str:
    """The commit that is checked out, with a ``+`` if files of the service differ from it.

    ``unknown`` outside of a checkout.
    """
    git = ["git", "-C", str(top)]
    try:
        commit = subprocess.run(
            [*git, "rev-parse", "--short=10", "HEAD"], check=True, capture_output=True, text=True
        ).stdout.strip()
        changed = subprocess.run(
            [*git, "status", "--porcelain", "src"], check=True, capture_output=True, text=True
        ).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"the commit is not known: {error}", file=sys.stderr)
        return "unknown"
    return commit + ("+" if changed.strip() else "")
