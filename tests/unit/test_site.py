"""The documentation site builds without a broken link, and works where there is no network."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

pytest.importorskip("mkdocs")
pytest.importorskip("material")

ROOT = Path(__file__).parents[2]

LOADS = {
    "script": ("src",),
    "link": ("href",),
    "img": ("src", "srcset"),
    "iframe": ("src",),
    "source": ("src", "srcset"),
    "video": ("src", "poster"),
    "audio": ("src",),
    "object": ("data",),
    "embed": ("src",),
}
"""Elements that make a browser load something, and the attributes that name it."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as ``make site`` builds it."""
    directory = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(directory)]
    ended = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return directory


class Loads(HTMLParser):
    """Collects what a page loads."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.styles: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the addresses that an element loads."""
        found = {name: value or "" for name, value in attrs}
        self.styles.append(found.get("style", ""))
        if tag == "link" and found.get("rel") in ("canonical", "next", "prev"):
            return
        self.addresses += [found[name] for name in LOADS.get(tag, ()) if name in found]


def test_the_readme_is_the_first_page(site: Path) -> None:
    page = (site / "index.html").read_text()
    assert "<h1" in page
    assert 'href="administrators.html"' in page


def test_every_page_of_the_docs_is_there(site: Path) -> None:
    docs = ROOT / "docs"
    for page in docs.rglob("*.md"):
        assert (site / page.relative_to(docs).with_suffix(".html")).is_file(), page


def test_nothing_comes_from_another_host(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 15
    for page in pages:
        loads = Loads()
        loads.feed(page.read_text())
        assert len(loads.addresses) > 3, page
        for address in loads.addresses:
            assert not re.match(r"(\w+:)?//", address), f"{page.name} loads {address}"
            if address.startswith(("data:", "#")):
                continue
            path = page.parent / address.partition("?")[0].partition("#")[0]
            if page.name != "404.html":  # for a server that has the site at its root
                assert path.exists(), f"{page.name}: {address}"
        for text in loads.styles:
            assert "//" not in text, page
    for sheet in site.rglob("*.css"):
        text = sheet.read_text()
        assert not re.search(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//", text), sheet


def test_no_diagram_needs_a_script_of_another_host(site: Path) -> None:
    """The theme fetches mermaid from a CDN as soon as a page has a diagram of that kind."""
    for page in site.rglob("*.html"):
        assert "mermaid" not in page.read_text(), page


def test_the_index_of_the_search_has_the_words(site: Path) -> None:
    index = (site / "search" / "search_index.js").read_text()
    documents = json.loads(index.removeprefix("var __index = "))["docs"]
    found = {d["location"].partition("#")[0] for d in documents if "probation" in d["text"]}
    assert {"scientists.html", "glossary.html", "reference/commands.html"} <= found


def test_search_works_from_the_filesystem_without_a_network(site: Path, tmp_path: Path) -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("there is no chromium on this machine")
    ended = subprocess.run(
        [
            chromium,
            *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
            "--disable-background-networking",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            f"--user-data-dir={tmp_path}",
            "--virtual-time-budget=20000",
            "--dump-dom",
            f"{(site / 'index.html').as_uri()}?q=probation",
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert re.search(r"\d+ matching documents", ended.stdout), ended.stderr[-2000:]
    assert 'href="glossary.html' in ended.stdout or "/glossary.html" in ended.stdout
