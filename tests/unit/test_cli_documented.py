"""The commands in the guides exist."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import click
import pytest

from gobbler.cli import COMMANDS

ROOT = Path(__file__).parents[2]
GUIDES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

# In code: after a backtick, at the start of a line, after a prompt or inside of `$(...)`. The
# account of the service, as in `sudo -u gobbler gobbler ls`, is no command.
MENTION = re.compile(
    r"(?:^|[`(;]|[^\S\n])(?<!-u )gobbler ([a-z]+(?:-[a-z]+)*)(?: ([a-z-]+))?", re.MULTILINE
)
CODE = re.compile(r"```sh\n(.*?)```|(`gobbler [^`\n]+`)", re.DOTALL)


def mentions(guide: Path) -> set[tuple[str, str]]:
    """The commands, and the words after them, in the code of a guide."""
    code = "\n".join(block or inline for block, inline in CODE.findall(guide.read_text()))
    uncommented = re.sub(r"(^|\s)#.*", "", code)
    return set(MENTION.findall(uncommented))


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.name)
def test_documented_commands_exist(guide):
    for name, word in mentions(guide):
        assert name in COMMANDS, f"gobbler {name}"
        command = import_module(f"gobbler.cli.{name.replace('-', '_')}").command
        if isinstance(command, click.Group) and word:
            assert word in command.commands, f"gobbler {name} {word}"


def test_mentions_are_found():
    assert ("upload", "") in mentions(ROOT / "README.md")
    assert ("probation", "approve") in mentions(ROOT / "docs" / "scientists.md")
