"""``..incoming/{job}/intent``: what is to be finished once a change has begun."""

from __future__ import annotations

from msgspec import Struct

from gobbler.names import VersionKey


class Move(Struct, frozen=True):
    """One rename between a job and the registry.

    ``name`` is in the job, ``target`` in the registry; ``out``: from there into the job.
    """

    name: str
    target: str
    out: bool


class Intent(Struct, frozen=True, omit_defaults=True):
    """``..incoming/{job}/intent``: what recovery is to finish once the change has begun.

    ``marked``: the change has begun once the job's marker says so, else with the first
    rename. ``recount``: projects whose usage is to be counted anew. ``latest``: the asset's latest
    version is to be found anew. ``adopted``: files of the version were hard-linked from
    ``source`` (a directory of ``staging``), and their names there must go.
    """

    moves: list[Move]
    marked: bool = False
    project: str = ""
    asset: str = ""
    version: str = ""
    recount: list[str] = []
    latest: bool = False
    staging: str = ""
    source: str = ""
    adopted: bool = False

    @property
    def key(self) -> VersionKey:
        """The version that is changed."""
        return VersionKey(self.project, self.asset, self.version)
