"""The manual names only modules that exist."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    page.relative_to(ROOT)
    for page in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"))
    if page.name != "CHANGELOG.md"
)
PATH = re.compile(r"(?<![\w./~-])((?:[a-z_]+/)+[a-z_]+\.py)\b")
DOTTED = re.compile(r"`(gobbler(?:\.\w+)+)")


def exists(path: str) -> bool:
    return any((ROOT / top / path).is_file() for top in ("", "src", "src/gobbler"))


def resolves(name: str) -> bool:
    """Whether ``name`` is a module, or something in one."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:]:
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_modules_that_a_page_names_exist(page: Path) -> None:
    text = (ROOT / page).read_text()
    assert [path for path in PATH.findall(text) if not exists(path)] == []
    loggers = {"gobbler.requests"}
    names = set(DOTTED.findall(text)) - loggers
    assert sorted(name for name in names if not resolves(name)) == []


def test_what_does_not_exist_is_noticed() -> None:
    assert not exists("fs/nowhere.py")
    assert not resolves("gobbler.client.nowhere")
    assert exists("fs/open.py")
    assert resolves("gobbler.fs.open.read_all")
