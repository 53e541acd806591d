"""The reference of error codes, from the code that raises them."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import gobbler
from docs.generate import markdown
from gobbler.errors import Code, GobblerError, Unreachable

INTRODUCTION = """\
# Errors

Every error has a `code`: one of the words below. Programs decide by the code; it keeps its
meaning. The reason and the hint are texts for users, and may change.

- The service answers `{"status": "ERROR", "reason": "...", "code": "..."}`.
- A command with `--json` prints `{"error": {"code": "...", "reason": "...", "hint": "..."}}`
  on standard output. The same error goes to standard error as text.
- In Python, catch `gobbler.errors.GobblerError` and compare `error.code` with
  `gobbler.errors.Code`.

The Go service sends no codes. For its answers the client derives the code from the status.
"""

CLASSES = """\
## Exit codes and HTTP status

The class of an error decides its status and its exit code.
"""

OTHERS = """\
A wrong command line ends with 2, SIGTERM with 143, a terminal that was closed with 129. Some
commands report what they found by their exit code, too, without an error: see their `--help`.
"""

ALSO = {Code.STOPPING: {"503"}, Code.UNHEALTHY: {"503"}}
"""Statuses that do not come from the class of an error: what is not even begun gets 503."""

SOURCE = Path(gobbler.__file__).parent


def page() -> str:
    """The whole page."""
    raised = _raised()
    parts = [INTRODUCTION.strip(), CLASSES.strip(), _classes(), OTHERS.strip(), "## Codes"]
    for title, codes in _groups():
        rows = [_row(code, raised.get(code, set())) for code in codes]
        parts += [f"### {title}", markdown.table(["code", "meaning", "HTTP", "exit code"], rows)]
    return "\n\n".join(parts)


def _classes() -> str:
    rows = [
        [f"`{kind.__name__}`", _status(kind), str(kind.exit_code), _first_line(kind)]
        for kind in GobblerError.__subclasses__()
        if kind.__module__ == "gobbler.errors"
    ]
    return markdown.table(["class", "HTTP", "exit code", "meaning"], rows)


def _first_line(kind: type) -> str:
    return markdown.inline((inspect.getdoc(kind) or "").partition("\n")[0])


def _status(kind: type[GobblerError]) -> str:
    return "-" if issubclass(kind, Unreachable) else str(kind.status)


def _row(code: Code, kinds: set[type[GobblerError]]) -> list[str]:
    if code is Code.USAGE:
        return [f"`{code}`", code.description, "-", "2"]
    statuses = sorted({_status(kind) for kind in kinds} | ALSO.get(code, set()))
    exits = sorted({kind.exit_code for kind in kinds})
    return [f"`{code}`", code.description, ", ".join(statuses), ", ".join(map(str, exits))]


def _groups() -> Iterator[tuple[str, list[Code]]]:
    """The codes under the comments that head them in the source."""
    title, codes = "", list[Code]()
    for line in inspect.getsource(Code).splitlines():
        if heading := re.fullmatch(r" +# (.+)\.", line):
            if codes:
                yield title, codes
            title, codes = heading[1], []
        elif member := re.match(r" +([A-Z_]+) = ", line):
            codes.append(Code[member[1]])
    yield title, codes


def _raised() -> dict[Code, set[type[GobblerError]]]:
    """The classes that the source raises with each code, or that have it by default."""
    kinds = _kinds()
    found: dict[Code, set[type[GobblerError]]] = {}
    for kind in kinds.values():
        found.setdefault(kind.default_code, set()).add(kind)
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute)):
                continue
            name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
            for keyword in node.keywords:
                value = keyword.value
                if (
                    name in kinds
                    and keyword.arg == "code"
                    and isinstance(value, ast.Attribute)
                    and value.attr in Code.__members__
                ):
                    found.setdefault(Code[value.attr], set()).add(kinds[name])
    return found


def _kinds() -> dict[str, type[GobblerError]]:
    for module in pkgutil.walk_packages(gobbler.__path__, "gobbler."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found: dict[str, type[GobblerError]] = {}
    waiting: list[type[GobblerError]] = [GobblerError]
    while waiting:
        kind = waiting.pop()
        found[kind.__name__] = kind
        waiting += kind.__subclasses__()
    return found
