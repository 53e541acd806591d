"""The client's end of the protocol: one object, :class:`Client`.

::

    from gobbler.client import Client

    client = Client("http://gobbler.example.org:8080")
    client.upload("weather", "stations", "2026-11", "results/")
    version = client.version("weather", "stations", "2026-11")
    path = version.fetch()
    with version.open("berlin.csv") as file: ...
"""

from gobbler.client.bulk.repair import BulkRepair, RepairResult
from gobbler.client.bulk.validate import BulkValidation, ValidationResult
from gobbler.client.cache.entries import CacheEntry, Damage
from gobbler.client.cache.prune import PruneResult
from gobbler.client.calls.administration import LinkChange
from gobbler.client.calls.permissions import NewPermissions
from gobbler.client.calls.version import Version
from gobbler.client.client import Client
from gobbler.client.errors import NoAnswer, NotThere, RequestFailed, TooSlow
from gobbler.client.jobs import Job
from gobbler.client.source import ServiceInfo
from gobbler.rules.bulk import Budget
from gobbler.rules.diff import Difference, Pair

__all__ = [
    "Budget",
    "CacheEntry",
    "Client",
    "Damage",
    "Difference",
    "Job",
    "LinkChange",
    "NewPermissions",
    "NoAnswer",
    "NotThere",
    "Pair",
    "PruneResult",
    "RepairResult",
    "BulkRepair",
    "RequestFailed",
    "BulkValidation",
    "ServiceInfo",
    "TooSlow",
    "ValidationResult",
    "Version",
]
