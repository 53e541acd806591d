"""Trees of lines, as ``tree`` draws them."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

import click

from gobbler.cli import common

GUIDES = ("├── ", "└── ", "│   ", "    ")
ASCII_GUIDES = ("|-- ", "`-- ", "|   ", "    ")


@dataclass
class Node:
    """A name, what is said of it, and what is below it."""

    name: str
    note: str = ""
    children: list[Node] = field(default_factory=list)


def draw(top: Node) -> None:
    """Print the tree below ``top``, however deep."""
    branch, last_branch, trunk, nothing = _guides()
    pending = [(top, "", "")]
    while pending:
        node, guide, indent = pending.pop()
        note = click.style(f"  {common.printable(node.note)}", dim=True) if node.note else ""
        click.echo(f"{guide}{common.printable(node.name)}{note}")
        for child in reversed(node.children):
            is_last = child is node.children[-1]
            pending.append(
                (
                    child,
                    indent + (last_branch if is_last else branch),
                    indent + (nothing if is_last else trunk),
                )
            )


def _guides() -> tuple[str, str, str, str]:
    try:
        "".join(GUIDES).encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return ASCII_GUIDES
    return GUIDES
