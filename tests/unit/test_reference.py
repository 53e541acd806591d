"""The generated pages are up to date and complete."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import click
import pytest

import pygobbler
from gobbler.actions import ACTIONS
from gobbler.cli import COMMANDS
from gobbler.client import Admin, Asset, Client, Project, Version
from gobbler.client.config import KEYS, SERVICE_KEYS
from gobbler.client.resolve import ENVIRONMENT
from gobbler.errors import Code
from gobbler.service.openapi import description

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"
GUIDES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

ELSEWHERE = {"GOBBLER_SWAP_ROUNDS", "GOBBLER_SERVICE_URL"}
"""Variables of the tests, which users have no need to know."""


def generate(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "docs.generate", *words]
    return subprocess.run(command, cwd=root, capture_output=True, text=True)


def test_the_reference_is_fresh():
    ended = generate(ROOT, "--check")
    assert ended.returncode == 0, ended.stderr


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    return tmp_path


def test_what_is_not_fresh_is_named_with_what_to_do(copied):
    page = copied / "docs" / "reference" / "commands.md"
    page.write_text(page.read_text().replace("gobbler fetch", "gobbler get"))
    (copied / "docs" / "reference" / "http.md").unlink()
    (copied / "docs" / "reference" / "old.md").write_text("")
    ended = generate(copied, "--check")
    assert ended.returncode == 1
    reported = "is outdated. Run: make docs"
    assert ended.stderr.splitlines() == [
        f"docs/reference/{name} {reported}" for name in ("commands.md", "http.md", "old.md")
    ]
    (copied / "docs" / "reference" / "old.md").unlink()
    assert generate(copied).returncode == 0
    assert generate(copied, "--check").returncode == 0
    assert page.read_text() == (REFERENCE / "commands.md").read_text()


def reported(*pages: str) -> str:
    return "\n".join((REFERENCE / page).read_text() for page in pages)


def commands() -> list[tuple[str, click.Command]]:
    """All commands with what is written before their options."""
    found: list[tuple[str, click.Command]] = []
    for name in COMMANDS:
        command = import_module(f"gobbler.cli.{name.replace('-', '_')}").command
        found.append((f"gobbler {name}", command))
        if isinstance(command, click.Group):
            found += [(f"gobbler {name} {word}", c) for word, c in command.commands.items()]
    return found


def test_every_command_and_every_option():
    page = reported("commands.md")
    sections = dict(re.findall(r"^#+ (gobbler .*)\n((?:.|\n)*?)(?=^#|\Z)", page, re.MULTILINE))
    for name, command in commands():
        text = sections[name]
        if name in ("gobbler serve", "gobbler worker"):
            text = reported("settings.md")
        for option in command.params:
            if isinstance(option, click.Option):
                for written in (*option.opts, *option.secondary_opts):
                    assert f"`{written}`" in text, f"{name} {written}"
                assert option.help, f"{name} {option.name}"


def test_every_variable_of_the_environment():
    source = "\n".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))
    used = set(re.findall(r"\bGOBBLER_[A-Z_]+\b", source))
    assert used - ELSEWHERE == set(ENVIRONMENT)
    for name in ENVIRONMENT:
        assert f"`{name}`" in reported("settings.md")


def test_every_setting():
    for key in (*KEYS, *(f"service.NAME.{key}" for key in SERVICE_KEYS)):
        assert f"| `{key}` |" in reported("settings.md")


def test_every_endpoint_action_and_schema():
    page, document = reported("http.md"), description()
    for path, operations in document["paths"].items():
        for method in operations.keys() - {"head", "options"}:
            assert f"\n### {method.upper()} {path}\n" in page
    for action in ACTIONS:
        assert f"\n| `{action}` |" in page
    for name in document["components"]["schemas"]:
        assert f"\n### {name}\n" in page


def test_every_error_code_is_used():
    source = "\n".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))
    used = set(re.findall(r"\bCode\.([A-Z_]+)\b", source))
    assert used == Code.__members__.keys()


def test_every_error_code():
    for code in Code:
        assert f"| `{code}` | {code.description} |" in reported("errors.md")


def test_every_call_of_the_libraries():
    page = reported("python.md")
    names = [name for name in dir(Client) if not name.startswith("_")]
    names += [name for name in pygobbler.__all__ if not name.startswith("_")]
    for name in names:
        assert re.search(rf"^#+ {name}$", page, re.MULTILINE), name


def test_the_way_from_pygobbler_names_every_function_and_what_to_call_instead():
    text = (ROOT / "docs" / "from-pygobbler.md").read_text()
    rows = re.findall(r"^\| (`.*?) \|(.*?)\|(.*?)\|$", text, re.MULTILINE)
    functions = [name for row in rows for name in re.findall(r"`(\w+)`", row[0])]
    there = [name for name in pygobbler.__all__ if not name.startswith("_")]
    assert sorted(set(functions) - {"pygobbler"}) == sorted(there)
    kinds = (Client, Project, Asset, Version, Admin)
    for row in rows:
        for name in re.findall(r"\b(\w+)`", row[1]):
            assert any(hasattr(kind, name) for kind in kinds), name


def test_links_between_pages_lead_somewhere():
    pages = [*GUIDES, *REFERENCE.glob("*.md"), ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
    for page in pages:
        text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if "://" in target:
                continue
            path, _, anchor = target.partition("#")
            place = page.parent / path if path else page
            assert place.exists(), f"{page.name}: {target}"
            if anchor:
                headings = re.findall(r"^#+ (.*)$", place.read_text(), re.MULTILINE)
                anchors = [re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings]
                assert anchor in anchors, f"{page.name}: {target}"


def test_the_guides_mention_every_command_and_endpoint():
    """Outside of the generated pages, too: where one reads what it is for."""
    text = "\n".join(page.read_text() for page in GUIDES)
    for name in COMMANDS:
        assert f"gobbler {name}" in text, name
    for path in description()["paths"]:
        assert path.partition("{")[0] in text, path


def test_troubleshooting_explains_codes_that_exist():
    text = (ROOT / "docs" / "troubleshooting.md").read_text()
    headings = set(re.findall(r"^### ([a-z]+(?:-[a-z]+)*)$", text, re.MULTILINE))
    assert len(headings) >= 15
    assert headings <= {code.value for code in Code}
