"""What ``reroute_links`` should do, worked out from the chains of links by hand."""

from __future__ import annotations

import os
from typing import Any

from .addresses import naming
from .checks import check_usage, check_valid, versions_of
from .service import Service


def reroute(service: Service, *doomed: dict[str, Any], **fields: Any) -> list[dict[str, Any]]:
    """The changes in the answer, by path."""
    answer = service.succeed("reroute_links", {"to_delete": list(doomed), **fields})
    assert set(answer) == {"status", "changes"}
    return sorted(answer["changes"], key=lambda change: change["path"])


def copied(path: str, source: str, usage: int) -> dict[str, Any]:
    """A link that is replaced by a copy."""
    return {"path": path, "copy": True, "source": source, "usage": usage}


def moved(path: str, source: str) -> dict[str, Any]:
    """A link that leads elsewhere from now on."""
    return {"path": path, "copy": False, "source": source, "usage": 0}


def delete(service: Service, *doomed: dict[str, Any]) -> None:
    """Delete what was to be deleted."""
    for one in doomed:
        kind = "version" if "version" in one else "asset" if "asset" in one else "project"
        service.succeed(f"delete_{kind}", one)


def check_that_nothing_is_lost(
    service: Service, projects: list[str], *doomed: dict[str, Any]
) -> None:
    """What survives is valid, before and after the deletion, and the accounts are right."""
    gone = ["/".join(one.values()) for one in doomed]
    for project in projects:
        for at in versions_of(service, project):
            if not any(f"{at}/".startswith(f"{one}/") for one in gone):
                service.succeed("validate_version", naming(at))
    check_usage(service, *projects)
    delete(service, *doomed)
    check_valid(service, *projects)
    check_usage(service, *projects)


def is_link(service: Service, path: str) -> bool:
    return (service.registry / path).is_symlink()


def text_of(service: Service, path: str) -> str:
    """The text of the symbolic link at ``path`` of the registry."""
    return os.readlink(service.registry / path)
