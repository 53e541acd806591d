"""What must hold of a registry, whatever was asked of it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from .addresses import naming
from .service import Service


@contextmanager
def unchanged(service: Service, *projects: str) -> Iterator[None]:
    """Nothing of ``projects``, the top level and the logs changes during the block."""
    before = [service.snapshot(project) for project in projects]
    yield
    assert [service.snapshot(project) for project in projects] == before


def subdirectories(service: Service, address: str) -> list[str]:
    """The names of the assets of a project, or the versions of an asset."""
    found = os.scandir(service.registry / address)
    return sorted(e.name for e in found if e.is_dir() and not e.name.startswith(".."))


def versions_of(service: Service, project: str) -> list[str]:
    """The addresses of all versions of a project."""
    return [
        f"{project}/{asset}/{version}"
        for asset in subdirectories(service, project)
        for version in subdirectories(service, f"{project}/{asset}")
    ]


def usage_of(service: Service, project: str) -> int:
    """Bytes in the entries without a link, counted from the manifests."""
    manifests = (service.read(f"{at}/..manifest") for at in versions_of(service, project))
    entries = (entry for manifest in manifests for entry in manifest.values())
    return sum(entry["size"] for entry in entries if "link" not in entry)


def check_usage(service: Service, *projects: str) -> None:
    """The recorded usage is what the manifests say."""
    for project in projects:
        assert service.read(f"{project}/..usage") == {"total": usage_of(service, project)}


def check_valid(service: Service, *projects: str) -> None:
    """Every version of ``projects`` passes ``validate_version``."""
    for project in projects:
        for at in versions_of(service, project):
            service.succeed("validate_version", naming(at))


def latest_of(service: Service, asset: str) -> str | None:
    """The name in ``..latest`` of ``project/asset``, if there is one."""
    if not (service.registry / asset / "..latest").exists():
        return None
    return service.read(f"{asset}/..latest")["version"]


def set_finish(service: Service, version: str, finish: str) -> None:
    """Let a version have been finished at another time."""
    path = service.registry / version / "..summary"
    if not os.access(path.parent, os.W_OK):
        pytest.skip("needs write access to the registry")
    path.write_text(json.dumps({**json.loads(path.read_bytes()), "upload_finish": finish}))


def set_dates(service: Service, asset: str, *versions: str) -> None:
    """Let ``versions`` have been finished on different days, one after the other.

    Otherwise most finish within one second, and the order of those is not said.
    """
    for day, version in enumerate(versions, 1):
        set_finish(service, f"{asset}/{version}", f"2024-01-{day:02}T00:00:00Z")
