"""The client's end of the protocol: one object, :class:`Client`.

::

    from gobbler.client import Client

    client = Client("http://gobbler.example.org:8080")
    client.upload("weather/stations/2026-11", "results/")
    version = client.version("weather/stations/2026-11")
    path = version.fetch()
    with version.open("berlin.csv") as file: ...
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gobbler.client.admin import Admin
    from gobbler.client.asset import Asset
    from gobbler.client.bulk.repair import BulkRepair, RepairResult
    from gobbler.client.bulk.validate import BulkValidation, ValidationResult
    from gobbler.client.cache.entries import CacheEntry, Damage, PruneResult
    from gobbler.client.client import Client
    from gobbler.client.errors import NoAnswer, NotThere, RequestFailed, TooSlow
    from gobbler.client.groups import CacheDirectory, JobList
    from gobbler.client.jobs import Job
    from gobbler.client.permissions import NewPermissions
    from gobbler.client.project import Project
    from gobbler.client.relations import LinkChange
    from gobbler.client.shown_versions import Review
    from gobbler.client.source import ServiceInfo
    from gobbler.client.upload import UploadPlan
    from gobbler.client.version import Version
    from gobbler.client.version_path import VersionPath
    from gobbler.rules.bulk import Budget
    from gobbler.rules.manifest import Difference, Pair

_MODULES = {
    "Admin": "gobbler.client.admin",
    "Asset": "gobbler.client.asset",
    "Budget": "gobbler.rules.bulk",
    "BulkRepair": "gobbler.client.bulk.repair",
    "BulkValidation": "gobbler.client.bulk.validate",
    "CacheDirectory": "gobbler.client.groups",
    "CacheEntry": "gobbler.client.cache.entries",
    "Client": "gobbler.client.client",
    "Damage": "gobbler.client.cache.entries",
    "Difference": "gobbler.rules.manifest",
    "Job": "gobbler.client.jobs",
    "JobList": "gobbler.client.groups",
    "LinkChange": "gobbler.client.relations",
    "NewPermissions": "gobbler.client.permissions",
    "NoAnswer": "gobbler.client.errors",
    "NotThere": "gobbler.client.errors",
    "Pair": "gobbler.rules.manifest",
    "Project": "gobbler.client.project",
    "PruneResult": "gobbler.client.cache.entries",
    "RepairResult": "gobbler.client.bulk.repair",
    "RequestFailed": "gobbler.client.errors",
    "Review": "gobbler.client.shown_versions",
    "ServiceInfo": "gobbler.client.source",
    "TooSlow": "gobbler.client.errors",
    "UploadPlan": "gobbler.client.upload",
    "ValidationResult": "gobbler.client.bulk.validate",
    "Version": "gobbler.client.version",
    "VersionPath": "gobbler.client.version_path",
}
"""Where each name is: its module is imported when the name is first used."""

__all__ = [
    "Admin",
    "Asset",
    "Budget",
    "BulkRepair",
    "BulkValidation",
    "CacheDirectory",
    "CacheEntry",
    "Client",
    "Damage",
    "Difference",
    "Job",
    "JobList",
    "LinkChange",
    "NewPermissions",
    "NoAnswer",
    "NotThere",
    "Pair",
    "Project",
    "PruneResult",
    "RepairResult",
    "RequestFailed",
    "Review",
    "ServiceInfo",
    "TooSlow",
    "UploadPlan",
    "ValidationResult",
    "Version",
    "VersionPath",
]


def __getattr__(name: str) -> object:
    if name in _MODULES:
        found = globals()[name] = getattr(import_module(_MODULES[name]), name)
        return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
