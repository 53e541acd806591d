"""Hooks of MkDocs (`mkdocs.yml`): the site is built from the Markdown that GitHub shows."""

from __future__ import annotations

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]

PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "CHANGELOG.md": "CHANGELOG.md",
}
"""Pages at the top of the repository, and what they are called on the site."""

LICENSE = "https://spdx.org/licenses/MIT.html"

_COMMENT = re.compile(r"^ *<!-- not run: .*? -->\n", re.MULTILINE)
_LINK = re.compile(r"\]\((?!\w+:)([^)\s]+)\)")
_ORDERED = re.compile(r"\d+\. ")


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages that stand outside of ``docs/``."""
    for source, name in PAGES.items():
        text = _LINK.sub(lambda found: f"]({_from_docs(found[1])})", (ROOT / source).read_text())
        files.append(File.generated(config, name, content=text))
    return files


def _from_docs(target: str) -> str:
    """The target of a link of a page at the top, as seen from ``docs/``."""
    if target == "LICENSE":
        return LICENSE
    path, hash_sign, anchor = target.partition("#")
    return PAGES.get(path, path.removeprefix("docs/")) + hash_sign + anchor


def on_page_markdown(markdown: str, **_: object) -> str:
    """The page as Python-Markdown reads it; it is stricter than GitHub."""
    text = _COMMENT.sub("", markdown)
    for source, name in PAGES.items():
        text = text.replace(f"](../{source}", f"]({name}")
    return "".join(_indented(text.splitlines(keepends=True)))


def _indented(lines: list[str]) -> list[str]:
    """Lines below the items of a numbered list have four blanks before them, not three."""
    in_list, result = False, []
    for line in lines:
        if _ORDERED.match(line):
            in_list = True
        elif line.strip() and not line.startswith(" "):
            in_list = False
        result.append(f" {line}" if in_list and line.startswith("   ") else line)
    return result
