"""The measured parts of the page on speed: its tables, and its graph."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

from docs.generate.graph import comparable, description, graph
from docs.generate.measured import Line, limit_table, phase_table, table

_PART = re.compile(r"(<!-- measured: (\S+)(?: (\S+))? -->\n).*?(<!-- end -->)", re.DOTALL)


def with_figures(page: str, lines: Sequence[Line]) -> str:
    """The ``page`` with the latest figures between its marks.

    The marks are ``<!-- measured: table ext4 -->`` and ``<!-- end -->``. Raises ``KeyError`` for a
    part that is not known.
    """

    def part(found: re.Match[str]) -> str:
        text = _PARTS[found[2]](lines, found[3] or "")
        return f"{found[1]}\n{text}\n\n{found[4]}"

    return _PART.sub(part, page)


def latest(lines: Sequence[Line], filesystem: str) -> Line | None:
    """The line of a filesystem that was measured last."""
    found = [line for line in comparable(lines) if line["filesystem"] == filesystem]
    return found[-1] if found else None


def _about(line: Line) -> str:
    machine = line["machine"]
    return (
        f"Commit `{line['commit']}`, {line['date'][:10]}: {machine['processor']}, "
        f"{machine['processors']} processors, Linux {machine['kernel']}, Python "
        f"{machine['python']}, {line['filesystem']}; the least of {line['runs']} alternating runs."
    )


def _table(lines: Sequence[Line], filesystem: str) -> str:
    line = latest(lines, filesystem)
    return f"Not measured on {filesystem}." if line is None else f"{_about(line)}\n\n{table(line)}"


def _limits(lines: Sequence[Line], filesystem: str) -> str:
    line = latest(lines, filesystem)
    found = "" if line is None else limit_table(line["cases"])
    return found or f"Not measured on {filesystem}."


def _phases(lines: Sequence[Line], filesystem: str) -> str:
    line = latest(lines, filesystem)
    found = "" if line is None else phase_table(line["cases"])
    return found or f"Not measured on {filesystem}."


def _graph(lines: Sequence[Line], name: str) -> str:
    """The image, and what it shows in words."""
    words = description(comparable(lines)).replace("`", "")
    return (
        f"![How many times as fast as the peer, by case and commit](assets/{name})\n\n"
        f"<details><summary>The same in words</summary>\n<p>{escape(words)}</p>\n</details>"
    )


_PARTS = {"table": _table, "limits": _limits, "phases": _phases, "graph": _graph}

__all__ = ["graph", "latest", "with_figures"]
