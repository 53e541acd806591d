"""Markdown from docstrings and tables."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; pipes in its cells are escaped."""
    lines = [header, ["---"] * len(header), *rows]
    cells = (" | ".join(_cell(text) for text in line) for line in lines)
    return "\n".join(f"| {line} |" for line in cells)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def link(title: str) -> str:
    """The anchor of a heading, as on GitHub."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def inline(text: str) -> str:
    """Roles and literals of docstrings as code."""
    text = re.sub(r":\w+:`~(?:[\w.]+\.)?(\w+)`", r"`\1`", text)
    return re.sub(r":\w+:`([^`]+)`", r"`\1`", text).replace("``", "`")


def docstring(text: str | None) -> str:
    """A docstring as Markdown: blocks after ``::`` are code, sections such as ``Args:`` lists."""
    lines = inspect.cleandoc(text or "").splitlines()
    made: list[str] = []
    position = 0
    while position < len(lines):
        line = lines[position]
        if line.rstrip().endswith("::"):
            block, position = _indented(lines, position + 1)
            intro = line.rstrip()[:-1].rstrip()
            made += [inline(intro) if intro != ":" else "", "", "```python", *block, "```", ""]
        elif re.fullmatch(r"(Args|Attributes|Returns|Raises):", line):
            block, position = _indented(lines, position + 1)
            made += ["", f"**{line[:-1]}**", "", *_section(line[:-1], block), ""]
        else:
            made.append(inline(line))
            position += 1
    return re.sub(r"\n{3,}", "\n\n", "\n".join(made)).strip()


def _indented(lines: Sequence[str], start: int) -> tuple[list[str], int]:
    """The indented lines from ``start`` without indentation, and the index after them."""
    end = start
    while end < len(lines) and (not lines[end] or lines[end].startswith(" ")):
        end += 1
    block = inspect.cleandoc("\n".join(["", *lines[start:end]])).strip("\n")
    return block.splitlines(), end


def _section(title: str, block: Sequence[str]) -> list[str]:
    """A section of a docstring, as a list with an item for each entry."""
    if title == "Returns":
        return [inline(line) for line in block]
    made: list[str] = []
    for line in block:
        entry = re.match(r"([\w.*]+):(?: |$)(.*)", line)
        if entry:
            made.append(f"- `{entry[1]}`: {inline(entry[2])}".rstrip())
        elif made and made[-1].endswith(":") and line.strip():
            made[-1] += f" {inline(line.strip())}"
        else:
            made.append(f"  {inline(line.strip())}".rstrip())
    return made


def example(text: str | None) -> str:
    """The first block of code in a docstring."""
    lines = inspect.cleandoc(text or "").splitlines()
    block, _ = _indented(lines, lines.index("::") + 1)
    return "\n".join(block)
