"""The reference of the Python interfaces, from signatures and docstrings."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import gobbler.client
import pygobbler
from docs.generate import markdown

INTRODUCTION = """\
# Python

`gobbler.client` is the interface for new code. `pygobbler` has a function for each call, as
scripts for the original package use them; see [../from-pygobbler.md](../from-pygobbler.md).
Both raise the errors of `gobbler.errors` and `gobbler.client.errors`.
"""


def page() -> str:
    """The whole page."""
    parts = [INTRODUCTION.strip(), "## gobbler.client", markdown.docstring(gobbler.client.__doc__)]
    for name in sorted(gobbler.client.__all__, key=_place):
        parts += _class(getattr(gobbler.client, name), name, depth=3)
    parts += ["## pygobbler", markdown.docstring(pygobbler.__doc__)]
    for name in pygobbler.__all__:
        found = getattr(pygobbler, name)
        if callable(found):
            parts += _function(found, name, depth=3)
    return "\n\n".join(part for part in parts if part)


ORDER = [
    "Client",
    "Project",
    "Asset",
    "Version",
    "VersionPath",
    "Admin",
    "JobList",
    "Job",
    "CacheDirectory",
    "UploadPlan",
    "Difference",
]
"""The objects in the order in which a reader meets them; values and errors follow by name."""


def _place(name: str) -> tuple[int, bool, str]:
    index = ORDER.index(name) if name in ORDER else len(ORDER)
    return index, issubclass(getattr(gobbler.client, name), Exception), name


def _class(kind: type, name: str, depth: int) -> Iterator[str]:
    yield f"{'#' * depth} {name}"
    if issubclass(kind, Exception):
        bases = ", ".join(f"`{base.__name__}`" for base in kind.__bases__)
        yield f"An error: {bases}."
    elif fields := getattr(kind, "__annotations__", {}):
        yield markdown.table(["field", "type"], [[f"`{f}`", f"`{t}`"] for f, t in fields.items()])
    elif "__init__" in _members(kind):
        yield _code(_members(kind)["__init__"], name)
    yield markdown.docstring(kind.__doc__)
    for member, found in _members(kind).items():
        if not member.startswith("_"):
            yield from _function(found, member, depth + 1)


def _members(kind: type) -> dict[str, Any]:
    """What our classes give ``kind``, the bases' first, in the order of the code."""
    ours = [base for base in reversed(kind.__mro__) if base.__module__.startswith("gobbler.")]
    return {
        name: member
        for base in ours
        for name, member in vars(base).items()
        if _callable(member) is not None and (name == "__init__" or not name.startswith("_"))
    }


def _callable(member: Any) -> Callable[..., Any] | None:  # noqa: ANN401 - whatever there is
    """The function that is, or is behind, a member of a class."""
    if isinstance(member, property):
        return member.fget
    if isinstance(member, classmethod | staticmethod):
        return member.__func__
    function = getattr(member, "func", member)  # a cached property
    return function if inspect.isfunction(function) else None


def _function(member: Any, name: str, depth: int) -> Iterator[str]:  # noqa: ANN401
    function = _callable(member)
    assert function is not None
    yield f"{'#' * depth} {name}"
    is_value = isinstance(member, property) or hasattr(member, "func")
    yield _value(function, name) if is_value else _code(function, name)
    yield markdown.docstring(function.__doc__)


def _definition(function: Callable[..., Any]) -> ast.FunctionDef:
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    assert isinstance(definition, ast.FunctionDef)
    return definition


def _value(function: Callable[..., Any], name: str) -> str:
    returns = _definition(function).returns
    told = f": {ast.unparse(returns)}" if returns else ""
    return f"```python\n{name}{told}\n```"


def _code(member: Any, name: str) -> str:  # noqa: ANN401
    """The signature as it stands in the source, on as many lines as it needs."""
    function = _callable(member)
    assert function is not None
    definition = _definition(function)
    arguments = definition.args
    given = arguments.posonlyargs or arguments.args
    if given and given[0].arg in ("self", "cls"):
        del given[0]
    returns = ""
    if definition.returns is not None and name == function.__name__:
        returns = f" -> {ast.unparse(definition.returns)}"
    pieces = [_spaced(each) for each in _split(ast.unparse(arguments))]
    line = f"{name}({', '.join(pieces)}){returns}"
    if len(line) > 96:
        inner = "".join(f"    {each},\n" for each in pieces)
        line = f"{name}(\n{inner}){returns}"
    return f"```python\n{line}\n```"


def _spaced(argument: str) -> str:
    """``argument`` as our formatter would write it."""
    if '"' not in argument:
        argument = argument.replace("'", '"')
    return argument.replace("=", " = ", 1) if ":" in argument else argument


def _split(arguments: str) -> list[str]:
    """``arguments`` one by one; commas in brackets don't part them."""
    found, depth = [""], 0
    for char in arguments:
        depth += (char in "([{") - (char in ")]}")
        if char == "," and depth == 0:
            found.append("")
        else:
            found[-1] += char
    return [each.strip() for each in found if each.strip()]
