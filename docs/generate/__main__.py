"""Write all pages, or list the outdated ones."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from docs.generate import commands, errors, http, python, settings

REFERENCE = Path(__file__).parents[1] / "reference"

PAGES: dict[str, Callable[[], str]] = {
    "commands.md": commands.page,
    "errors.md": errors.page,
    "http.md": http.page,
    "python.md": python.page,
    "settings.md": settings.page,
}

NOTE = "<!-- Generated from the code by `make docs`. Don't edit this page. -->\n\n"


def main(arguments: list[str]) -> int:
    """Write the pages, or compare them with ``--check``. Returns the exit code."""
    if arguments not in ([], ["--check"]):
        print("usage: python -m docs.generate [--check]", file=sys.stderr)
        return 2
    pages = {name: NOTE + page().strip() + "\n" for name, page in PAGES.items()}
    if not arguments:
        REFERENCE.mkdir(exist_ok=True)
        for name, text in pages.items():
            (REFERENCE / name).write_text(text)
        return 0
    there = {path.name: path.read_text() for path in REFERENCE.glob("*.md")}
    stale = sorted(
        name for name in pages.keys() | there.keys() if pages.get(name) != there.get(name)
    )
    for name in stale:
        print(f"docs/reference/{name} is outdated. Run: make docs", file=sys.stderr)
    return 1 if stale else 0


sys.exit(main(sys.argv[1:]))
