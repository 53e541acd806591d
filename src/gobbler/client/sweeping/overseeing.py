"""What sweeps need to know of a registry and its versions."""

from __future__ import annotations

import os
from typing import NamedTuple

from gobbler.client.calls.administration import Administration
from gobbler.client.calls.reads import Reads
from gobbler.client.errors import RequestFailed, RequestForbidden, RequestMissing
from gobbler.errors import GobblerError, Unreachable
from gobbler.names import VersionKey
from gobbler.records import Summary, decode, decode_manifest
from gobbler.rules.sweeping import stamp


class Stored(NamedTuple):
    """Files of a version, and bytes in them, that are no links."""

    files: int
    bytes: int


class Overseeing(Administration, Reads):
    """The base of the calls that go over many versions."""

    def _registry_of(self) -> tuple[str | None, str]:
        """The address of the service, and the registry as it tells of it: which one is meant.

        Asks the service, so that a wrong address is found out at once.
        """
        if self.url:
            return self._http.url, self.info().registry
        return None, os.path.realpath(self.registry)

    def _version_stamp(self, key: VersionKey) -> str:
        """What tells the version from another of the same name; never from the cache."""
        try:
            return stamp(decode(self._source.read(key.summary), Summary, key.summary))
        except Unreachable:
            raise
        except (GobblerError, OSError):
            return ""

    def _stored(self, key: VersionKey) -> Stored | None:
        """What is stored in a version, if its manifest can be read; never from the cache."""
        try:
            manifest = decode_manifest(self._source.read(key.manifest), key.manifest)
        except Unreachable:
            raise
        except (GobblerError, OSError):
            return None
        sizes = [e.size for e in manifest.values() if e.link is None and not e.is_directory]
        return Stored(len(sizes), sum(sizes))

    def _was_deleted(self, error: RequestFailed, *names: str) -> bool:
        """Whether ``error`` is because the project, asset or version is not there any more."""
        return isinstance(error, RequestMissing) and not self._is_there(*names)

    def _is_there(self, *names: str) -> bool:
        *above, name = names
        try:
            return name in self.directories("/".join(above) or ".")
        except GobblerError as error:
            if isinstance(error, Unreachable):
                raise
            return False


def problems_in(error: RequestFailed) -> tuple[str, ...]:
    """What an error tells about that of which the request was.

    Raises it if it is not about that: if nobody answered, or the user may do nothing of the kind.
    """
    if isinstance(error, RequestForbidden | Unreachable):
        raise error
    return tuple(error.problems) or (error.reason,)
