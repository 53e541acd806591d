"""The client's end of the protocol: one object, :class:`Client`.

::

    from gobbler.client import Client

    client = Client("http://gobbler.example.org:8080")
    client.upload("weather", "stations", "2026-11", "results/")
    path = client.fetch_directory("weather/stations/2026-11")
"""

from gobbler.client.administration import LinkChange
from gobbler.client.cached import Cached, Damage
from gobbler.client.client import Client
from gobbler.client.errors import NoAnswer, NotThere, RequestFailed, TooSlow
from gobbler.client.jobs import Job
from gobbler.client.permissions import NewPermissions
from gobbler.client.pruning import Pruned
from gobbler.client.remote import ServiceInfo

__all__ = [
    "Cached",
    "Client",
    "Damage",
    "Job",
    "LinkChange",
    "NewPermissions",
    "NoAnswer",
    "NotThere",
    "Pruned",
    "RequestFailed",
    "ServiceInfo",
    "TooSlow",
]
