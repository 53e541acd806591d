"""Reading a registry through its service."""

from __future__ import annotations

from msgspec import Struct

from gobbler.client.connecting.http import Http
from gobbler.client.paths import listed_path


class ServiceInfo(Struct, frozen=True):
    """What a service tells about itself: where staging and the registry are mounted."""

    staging: str
    registry: str


class RemoteSource:
    """The registry of the service behind ``http``."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def directories(self, path: str) -> list[str]:
        """Names of the directories in ``path``, internal ones too."""
        where = {} if path == "." else {"path": path}
        listed = self._http.get("/list", list[str], where)
        return [listed_path(name)[:-1] for name in listed if name.endswith("/")]

    def walk(self, path: str) -> list[str]:
        """Relative paths of every file below ``path``, and of empty directories."""
        listed = self._http.get("/list", list[str], {"path": path, "recursive": "true"})
        return [listed_path(name) for name in listed]

    def read(self, path: str) -> bytes:
        """The content of the file ``path``."""
        return self._http.read(path)
