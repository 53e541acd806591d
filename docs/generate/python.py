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

Use `gobbler.Client` in new code. It hands out everything else:

| you write | you get |
| --- | --- |
| `client.project("weather")`, `client.projects()` | a `Project`: its assets and permissions |
| `client.asset("weather/stations")`, `project / "stations"` | an `Asset`: its versions |
| `client.version("weather/stations/1.4")`, `asset / "1.4"` | a `Version`: its files |
| `version / "berlin.csv"` | a `VersionPath`: open it, read it, fetch it |
| `client.upload("weather/stations/1.5", "./results")` | the new `Version` |
| `client.jobs` | a `JobList`: requests that you do not wait for |
| `client.cache` | a `CacheDirectory`: what was fetched over HTTP |
| `client.admin` | an `Admin`: create, delete, repair, validate everything |

Projects, assets and versions are collections: `len(version)`, `"berlin.csv" in version`,
`for asset in project`. All objects can be compared, pickled and copied, also open files.

`pygobbler` has one function for each call, for scripts that were written for the original package;
see [../from-pygobbler.md](../from-pygobbler.md). Both raise the errors of `gobbler.errors` and
`gobbler.client.errors`; [errors.md](errors.md) lists their codes.
"""


def page() -> str:
    """The whole page."""
    parts = [INTRODUCTION.strip(), "## gobbler.client", markdown.docstring(gobbler.client.__doc__)]
    names = sorted(gobbler.client.__all__)
    errors = [name for name in names if issubclass(getattr(gobbler.client, name), Exception)]
    values = [name for name in names if name not in (*OBJECTS, *errors)]
    for title, chosen in (("", OBJECTS), ("Values", values), ("Errors", errors)):
        parts.append(f"## {title} of gobbler.client" if title else "")
        for name in chosen:
            parts += _class(getattr(gobbler.client, name), name, depth=3)
    parts += ["## pygobbler", markdown.docstring(pygobbler.__doc__)]
    for name in pygobbler.__all__:
        found = getattr(pygobbler, name)
        if callable(found):
            parts += _function(found, name, depth=3)
    return "\n\n".join(part for part in parts if part)


OBJECTS = [
    "Client",
    "Project",
    "Asset",
    "Version",
    "VersionPath",
    "Admin",
    "BulkValidation",
    "BulkRepair",
    "JobList",
    "Job",
    "CacheDirectory",
]
"""In the order in which a reader meets them."""


def _class(kind: type, name: str, depth: int) -> Iterator[str]:
    yield f"{'#' * depth} {name}"
    if issubclass(kind, Exception):
        bases = ", ".join(f"`{base.__name__}`" for base in kind.__bases__)
        yield f"An error: {bases}."
    elif fields := getattr(kind, "__annotations__", {}):
        yield markdown.table(["field", "type"], [[f"`{f}`", f"`{t}`"] for f, t in fields.items()])
    elif name == "Client":  # users make no other object themselves
        yield _code(_members(kind)["__init__"], name)
    yield markdown.docstring(kind.__doc__)
    for member, found in _members(kind).items():
        if not member.startswith("_"):
            yield from _function(found, member, depth + 1)


def _members(kind: type) -> dict[str, Any]:
    """The public members of ``kind``, those of its bases first, in the order of the code."""
    ours = [base for base in reversed(kind.__mro__) if base.__module__.startswith("gobbler.")]
    return {
        name: member
        for base in ours
        for name, member in vars(base).items()
        if _callable(member) is not None and (name == "__init__" or not name.startswith("_"))
    }


def _callable(member: Any) -> Callable[..., Any] | None:  # noqa: ANN401 - whatever there is
    """The function behind a member of a class, if there is one."""
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
    annotation = f": {ast.unparse(returns)}" if returns else ""
    return f"```python\n{name}{annotation}\n```"


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
