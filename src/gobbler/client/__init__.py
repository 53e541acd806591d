"""The client's end of the protocol: one object, :class:`Client`.

::

    from gobbler.client import Client

    client = Client("http://gobbler.example.org:8080")
    client.upload("weather", "stations", "2026-11", "results/")
    version = client.version("weather", "stations", "2026-11")
    path = version.fetch()
    with version.open("berlin.csv") as file: ...
"""

from gobbler.client.cache.cached import Cached, Damage
from gobbler.client.cache.pruning import Pruned
from gobbler.client.calls.administration import LinkChange
from gobbler.client.calls.permissions import NewPermissions
from gobbler.client.calls.version import Version
from gobbler.client.client import Client
from gobbler.client.connecting.jobs import Job
from gobbler.client.errors import NoAnswer, NotThere, RequestFailed, TooSlow
from gobbler.client.reading.remote import ServiceInfo
from gobbler.client.sweeping.repairs import Repaired, Repairs
from gobbler.client.sweeping.scrub import Scrub, Verified
from gobbler.rules.difference import Difference, Pair
from gobbler.rules.sweeping import Budget

__all__ = [
    "Budget",
    "Cached",
    "Client",
    "Damage",
    "Difference",
    "Job",
    "LinkChange",
    "NewPermissions",
    "NoAnswer",
    "NotThere",
    "Pair",
    "Pruned",
    "Repaired",
    "Repairs",
    "RequestFailed",
    "Scrub",
    "ServiceInfo",
    "TooSlow",
    "Verified",
    "Version",
]
