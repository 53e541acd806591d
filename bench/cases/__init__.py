"""The cases: what is prepared, what is measured, and the yardstick that it is measured by.

Each case is made for one peer. ``before`` prepares a run, ``work`` is what is measured,
``after`` clears away; ``yardstick`` does the least that anybody would have to do.
"""

from bench.cases.base import Case
from bench.cases.changing import (
    NewProjects,
    NewProjectsFromMany,
    Publications,
    Reroute,
    RerouteChain,
    SmallChanges,
    SmallChangesFromMany,
    SmallRequests,
    SmallRequestsFromMany,
)
from bench.cases.large import DuringAnUpload, Million, RerouteInMany
from bench.cases.reading import ArchiveLarge, ArchiveSmall, FetchLarge, FetchSmall, ListFiles
from bench.cases.uploading import Again, Clone, Consume, LargeFile, Reindex, SmallFiles, Validate

CASES: tuple[type[Case], ...] = (
    SmallFiles,
    LargeFile,
    Again,
    Clone,
    Consume,
    Validate,
    Reindex,
    ListFiles,
    FetchSmall,
    FetchLarge,
    ArchiveLarge,
    ArchiveSmall,
    SmallRequests,
    SmallRequestsFromMany,
    SmallChanges,
    SmallChangesFromMany,
    NewProjects,
    NewProjectsFromMany,
    Publications,
    Reroute,
    RerouteChain,
    DuringAnUpload,
    Million,
    RerouteInMany,
)

__all__ = ["CASES", "Case"]
