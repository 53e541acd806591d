"""What the README and the guides show works as it is shown."""

from __future__ import annotations

import importlib
import re
import shlex
import shutil
from pathlib import Path

import click
import pytest

from gobbler.cli import COMMANDS
from gobbler.cli.serve import OneDashToo
from gobbler.client import Client

from .documented import ROOT, Example, Newcomer, examples, place, steps

DOCS = ROOT / "docs"
ELSEWHERE = {"filestore.md", "spool.md"}
"""Pages with a test of their own."""

SECTIONS = {"In Python", "pandas, zarr and others", "What differs between versions"}
"""Sections of the guide for scientists that test_guide.py runs, and what they need."""

PAGES = [ROOT / "README.md", *(p for p in sorted(DOCS.glob("*.md")) if p.name not in ELSEWHERE)]
RUN = ("sh", "python")

TUTORIAL = "docs/tutorial.md"


def is_for_newcomers(example: Example) -> bool:
    """Whether a block is for somebody who has nothing, not even a service."""
    return example.page == TUTORIAL or (example.page, example.section) == ("README.md", "Try it")


def gobbler_lines(code: str) -> list[list[str]]:
    """The words of every call of the command line in a piece of shell."""
    found = []
    joined = code.replace("\\\n", " ")
    for line in re.findall(r"(?:^|[;(|]|\bsudo )\s*gobbler (.*)$", joined, re.MULTILINE):
        call = re.split(r"\s[|#>]|[|;]|\)(?:\"|$|\s)", line, maxsplit=1)[0]
        found.append(shlex.split(call.rstrip('"') if call.count('"') % 2 else call))
    return found


ALL = [example for page in [*PAGES, DOCS / "reference/commands.md"] for example in examples(page)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_run(page: Path, tmp_path: Path) -> None:
    """All of a page, one after the other; they may rely on what came before."""
    found = [e for e in examples(page) if e.kind in RUN and e.reason is None]
    found = [e for e in found if e.section not in SECTIONS and not is_for_newcomers(e)]
    if not found:
        pytest.skip("there is nothing to run on this page")
    for tool in ("bash", "curl", "jq"):
        if shutil.which(tool) is None:
            pytest.skip(f"there is no {tool} on this machine")
    with place(tmp_path) as there:
        if not any("gobbler config set service.lab.url" in e.code for e in found):
            there.configure()
        for example in found:
            ended = there.run(example)
            reported = f"{example}:\n{example.code}\n{ended.stdout}{ended.stderr}"
            assert ended.returncode == 0, reported


def test_there_is_much_to_run() -> None:
    counted = [e for page in PAGES for e in examples(page) if e.kind in RUN]
    assert len([e for e in counted if e.reason is None]) >= 20
    reasons = [e.reason for e in counted if e.reason]
    elsewhere = [found[0] for reason in reasons if (found := re.search(r"tests/\S+", reason))]
    assert all((ROOT / test).exists() for test in elsewhere)
    assert len(reasons) - len(elsewhere) <= 16


@pytest.mark.parametrize("example", [e for e in ALL if e.kind == "sh"], ids=str)
def test_commands_have_the_options_that_are_shown(example: Example) -> None:
    """Also in what is not run."""
    for words in gobbler_lines(example.code):
        name, *rest = words
        if name.startswith("-"):
            continue
        assert name in COMMANDS, words
        command: click.Command = importlib.import_module(
            f"gobbler.cli.{name.replace('-', '_')}"
        ).command
        if isinstance(command, click.Group) and rest and rest[0] in command.commands:
            command = command.commands[rest.pop(0)]
        known = {n for p in command.params for n in (*p.opts, *p.secondary_opts)} | {"--help"}
        for word in rest:
            if re.match(r"-{1,2}[a-z]", word):
                option = word.partition("=")[0]
                if isinstance(command, OneDashToo) and not option.startswith("--"):
                    option = f"-{option}"
                assert option in known, f"{words}: {option}"


@pytest.mark.parametrize("page", ["README.md", TUTORIAL])
def test_a_newcomer_gets_what_is_shown(page: str, tmp_path: Path) -> None:
    """From an empty directory, with a service that the page starts."""
    found = [e for e in examples(ROOT / page) if is_for_newcomers(e) and e.reason is None]
    ran, log = Newcomer(tmp_path).run([e for e in found if e.kind in (*RUN, "console")])
    for step in ran:
        assert normal(step.printed) == normal(step.shown), step.line
    for example in found:
        if example.kind == "text":
            assert normal(example.code) in normal(log)


SESSIONS = [
    example
    for page in PAGES
    for example in examples(page)
    if example.kind == "console" and not is_for_newcomers(example)
]


def test_the_readme_has_a_session() -> None:
    assert any(e.page == "README.md" for e in SESSIONS)


@pytest.mark.parametrize("session", SESSIONS, ids=str)
def test_a_session_goes_as_it_is_shown(session: Example, tmp_path: Path) -> None:
    """But for moments, and how long something took."""
    with place(tmp_path) as there:
        there.configure()
        published = Client(there.put_in("http://gobbler.example.org:8080"))
        published.admin.delete_asset("weather", "stations")
        shown = steps(session)
        assert shown
        for line, expected in shown:
            assert normal(there.shell(line)) == normal(expected), line


def normal(text: str) -> str:
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d)", "{time}", text)
    text = re.sub(r"\b\d+\.\d s\b", "{seconds}", text)
    text = re.sub(r"\b[0-9a-f]{64}\b", "{digest}", text)
    return "\n".join(" ".join(line.split()) for line in text.strip().splitlines())
