"""The client's end of the protocol: one object, :class:`Client`.

::

    from gobbler.client import Client

    client = Client("http://gobbler.example.org:8080")
    client.upload("weather/stations/2026-11", "results/")
    version = client.version("weather/stations/2026-11")
    path = version.fetch()
    with version.open("berlin.csv") as file: ...
"""

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
