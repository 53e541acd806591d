"""The layers of the design: imports go down, and never round in a circle."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import gobbler

SOURCE = Path(gobbler.__file__).parent.parent

BASE = {"errors", "names", "records", "requests", "jobs"}
DISK = {"rules", "disk", *BASE}
REGISTRY = {"registry", *DISK}
DOCTOR = {"doctor", "disk", "names", "errors", "jobs"}
INDEX = {"index", *REGISTRY}
ACTIONS = {"transfer", "actions", "spool", *INDEX}

CLIENT_BASE = {
    "client.errors",
    "client.paths",
    "client.plain",
    "client.ports",
    "client.progress",
    "client.workers",
}
CONNECTING = {"client.connecting", *CLIENT_BASE, *DISK}
READING = {"client.reading", *CONNECTING}
CACHE = {"client.cache", *READING}
CALLS = {"client.calls", *CACHE}

MAY_IMPORT: dict[str, set[str]] = {
    "errors": BASE,
    "names": BASE,
    "records": BASE,
    "requests": BASE,
    "jobs": BASE,
    "rules": {"rules", *BASE},
    "disk": DISK,
    "registry": REGISTRY,
    "index": INDEX,
    "transfer": {"transfer", *REGISTRY},
    "spool": {"spool", *REGISTRY},
    "actions": ACTIONS,
    "doctor": DOCTOR,
    "service": {"service", "version", "doctor", *ACTIONS},
    **dict.fromkeys(CLIENT_BASE, CLIENT_BASE | BASE),
    "client.connecting": CONNECTING,
    "client.reading": READING,
    "client.cache": CACHE,
    "client.calls": CALLS,
    "client.uploading": {"client.uploading", *CALLS},
    "client.sweeping": {"client.sweeping", *CALLS},
    # The modules beside these packages are what users import.
    "client": {"client", "version", *DISK},
    "pygobbler": {"client", "pygobbler", "version"},
    "gocept": {"spool", "gocept"},
    # `gobbler serve`, `gobbler worker`, `gobbler doctor` and `gobbler index` are the commands that
    # are not clients.
    "cli": {"cli", "client", "version", *BASE},
    "cli.serve": {"cli", "service", "version", *DISK},
    "cli.serving": {"cli", "service", "version", *DISK},
    "cli.worker": {"cli", "service", "version", *DISK},
    "cli.doctor": {"cli", "version", *DOCTOR},
    "cli.index": {"cli", "version", *INDEX},
    "__main__": {"cli"},
    "version": set(),
}
"""What a layer may import, itself included; ``client`` stands for all within it, too.

``version`` is ``gobbler/__init__.py``.
"""


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
    if (command := ".".join(parts[1:3])) in MAY_IMPORT:
        return command
    return parts[1] if parts[0] == "gobbler" else parts[0]


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_go_down(module):
    allowed = MAY_IMPORT[layer(module)]
    wrong = {
        name
        for name in imports(module)
        if not allowed & {layer(name), layer(name).partition(".")[0]}
    }
    assert not wrong, f"{module} must not import {sorted(wrong)}"


def test_each_package_of_the_client_has_a_place():
    packages = {path.parent.name for path in (SOURCE / "gobbler" / "client").glob("*/__init__.py")}
    assert packages
    assert {f"client.{name}" for name in packages} <= set(MAY_IMPORT)


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
    layers = {layer(module).partition(".")[0] for module in reached}
    assert not layers & {"service", "actions", "transfer", "spool", "cli"}
