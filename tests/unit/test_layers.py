"""The layers of the design: imports go down, and never round in a circle."""

from __future__ import annotations

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import gobbler

SOURCE = Path(gobbler.__file__).parent.parent

DESIGN = Path(__file__).parents[2] / "docs" / "design.md"


def documented() -> dict[str, set[str]]:
    """What each package may import besides itself: the table of docs/design.md."""
    found: dict[str, set[str]] = {}
    for line in DESIGN.read_text().splitlines():
        cells = [re.findall(r"`([a-z_.]+)`", cell) for cell in line.split("|")[1:-1]]
        if len(cells) == 3 and cells[0] and not line.startswith("| ---"):
            for name in cells[0]:
                found[name] = {name.partition(".")[0], name, *cells[2]}
    return found


MAY_IMPORT = documented()


def modules() -> dict[str, Path]:
    """Every module of the distribution by its dotted name."""
    found = {}
    for package in ("gobbler", "pygobbler", "gocept"):
        for path in (SOURCE / package).rglob("*.py"):
            parts = path.relative_to(SOURCE).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports(module: str, *, at_once: bool = False) -> set[str]:
    """The modules of ours that ``module`` imports; with ``at_once`` only when it is imported."""
    tree = ast.parse(MODULES[module].read_text())
    deferred = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or is_typing_only(node)
        for inner in ast.walk(node)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if at_once and id(node) in deferred:
            continue
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            base = node.module or ""
            for alias in node.names:
                full = f"{base}.{alias.name}"
                found.add(full if full in MODULES else base)
    return (found & set(MODULES)) - {module}


def is_typing_only(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.If)
        and isinstance(node.test, ast.Name)
        and node.test.id == "TYPE_CHECKING"
    )


def layer(module: str) -> str:
    parts = module.split(".")
    if module == "gobbler":
        return "version"
    if parts[0] == "gobbler" and (command := ".".join(parts[1:3])) in MAY_IMPORT:
        return command
    return parts[1] if parts[0] == "gobbler" else parts[0]


def test_every_package_is_in_the_table_of_the_design():
    packages = {layer(module) for module in MODULES}
    assert packages == set(MAY_IMPORT)


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_go_down(module):
    allowed = MAY_IMPORT[layer(module)]
    wrong = {
        name
        # The package itself names the client for type checkers, and imports it when it is used.
        for name in imports(module, at_once=module == "gobbler")
        if not allowed & {layer(name), layer(name).partition(".")[0]}
    }
    assert not wrong, f"{module} must not import {sorted(wrong)}"


def test_the_table_has_an_order():
    """Packages never import each other in a circle, by the table itself."""
    rows = {name: allowed - {name, name.partition(".")[0]} for name, allowed in MAY_IMPORT.items()}
    list(TopologicalSorter(rows).static_order())


def test_no_circles():
    graph = {module: imports(module, at_once=True) for module in MODULES}
    # A package and its own modules are one unit in this respect.
    list(TopologicalSorter(graph).static_order())


def test_the_client_can_do_without_the_service():
    reached: set[str] = set()
    pending = ["gobbler.client", "pygobbler"]
    while pending:
        module = pending.pop()
        if module not in reached:
            reached.add(module)
            pending += imports(module)
    scanner = {"transfer.scan", "transfer.stat_pool"}
    layers = {layer(module).partition(".")[0] for module in reached if layer(module) not in scanner}
    assert not layers & {"service", "actions", "transfer", "spool", "cli"}


def test_filestore_can_be_lifted_into_another_project():
    """It runs with two other packages, ``errors`` and ``fs``, and nothing that they import."""
    reached: set[str] = set()
    pending = [module for module in MODULES if module.startswith("gobbler.filestore")]
    while pending:
        module = pending.pop()
        if module not in reached:
            reached.add(module)
            pending += imports(module, at_once=True)
    assert {layer(module) for module in reached} == {"filestore", "fs", "errors"}
