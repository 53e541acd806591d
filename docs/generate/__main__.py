"""Write all pages, or list the outdated ones."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from docs.generate import commands, errors, http, measured, python, settings, speed

DOCS = Path(__file__).parents[1]
REFERENCE = DOCS / "reference"

PAGES: dict[str, Callable[[], str]] = {
    "commands.md": commands.page,
    "errors.md": errors.page,
    "http.md": http.page,
    "python.md": python.page,
    "settings.md": settings.page,
}

NOTE = "<!-- Generated from the code by `make docs`. Don't edit this page. -->\n\n"

MEASURED_PAGE, GRAPH = DOCS / "performance.md", DOCS / "assets" / "speed.svg"


def main(arguments: list[str]) -> int:
    """Write the pages, or compare them with ``--check``. Returns the exit code."""
    if arguments not in ([], ["--check"]):
        print("usage: python -m docs.generate [--check]", file=sys.stderr)
        return 2
    pages = {REFERENCE / name: NOTE + page().strip() + "\n" for name, page in PAGES.items()}
    lines = measured.read()
    pages[MEASURED_PAGE] = speed.with_figures(MEASURED_PAGE.read_text(), lines)
    pages[GRAPH] = speed.graph(lines)
    if not arguments:
        REFERENCE.mkdir(exist_ok=True)
        for path, text in pages.items():
            path.write_text(text)
        return 0
    there = {path: path.read_text() for path in REFERENCE.glob("*.md")}
    there |= {path: path.read_text() for path in (MEASURED_PAGE, GRAPH) if path.exists()}
    stale = sorted(
        path for path in pages.keys() | there.keys() if pages.get(path) != there.get(path)
    )
    for path in stale:
        name = path.relative_to(DOCS.parent)
        print(f"{name} is outdated. Run: make docs", file=sys.stderr)
    return 1 if stale else 0


sys.exit(main(sys.argv[1:]))
