"""The client's end of the protocol: one object, :class:`Client`.

::

    from gobbler.client import Client

    client = Client("http://gobbler.example.org:8080")
    client.upload("weather", "stations", "2026-11", "results/")
    version = client.version("weather", "stations", "2026-11")
    path = version.fetch()
    with version.open("berlin.csv") as file: ...
"""

from gobbler.client.administration import LinkChange
from gobbler.client.cached import Cached, Damage
from gobbler.client.client import Client
from gobbler.client.errors import NoAnswer, NotThere, RequestFailed, TooSlow
from gobbler.client.jobs import Job
from gobbler.client.permissions import NewPermissions
from gobbler.client.pruning import Pruned
from gobbler.client.remote import ServiceInfo
from gobbler.client.repairs import Repaired, Repairs
from gobbler.client.scrub import Scrub, Verified
from gobbler.client.version import Version
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
