"""The cases: what is prepared, what is measured, and the yardstick that it is measured by.

Each case is made for one peer. ``before`` prepares a run, ``work`` is what is measured,
``after`` clears away; ``yardstick`` does the least that anybody would have to do.
"""

from bench.cases.base import Case
from bench.cases.changing import (
    DeleteVersion,
    NewProjects,
    NewProjectsFromMany,
    Publications,
    RefreshLatest,
    RefreshUsage,
    Reroute,
    RerouteChain,
    SmallChanges,
    SmallChangesFromMany,
    SmallRequests,
    SmallRequestsFromMany,
)
from bench.cases.large import DuringAnUpload, Million, RerouteInMany
from bench.cases.reading import ArchiveLarge, ArchiveSmall, FetchLarge, FetchSmall, ListFiles
from bench.cases.starting import (
    BusyDisk,
    ClientUpload,
    ClientUploadLarge,
    FirstAnswer,
    List,
    Version,
)
from bench.cases.uploading import (
    Again,
    AgainAll,
    Clone,
    Consume,
    ConsumeSmall,
    LargeAgain,
    LargeFile,
    Reindex,
    SmallFiles,
    Validate,
)

TABLE: tuple[type[Case], ...] = (
    SmallFiles,
    AgainAll,
    Again,
    Clone,
    ConsumeSmall,
    LargeFile,
    LargeAgain,
    Consume,
    Validate,
    Reindex,
    ListFiles,
    RefreshLatest,
    DeleteVersion,
    RefreshUsage,
    FetchSmall,
    FetchLarge,
    FirstAnswer,
    Version,
    List,
    BusyDisk,
    ClientUpload,
    ClientUploadLarge,
)
"""What two services are compared by; each has a goal."""

CASES: tuple[type[Case], ...] = (
    *TABLE,
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

__all__ = ["CASES", "TABLE", "Case"]
