"""The log: one file for each change, which downstream indexers poll.

A name is ``{time}_{six digits}``, the second in UTC and its microseconds. So names sort in the
order of the changes.
"""

from __future__ import annotations

import datetime as dt
import os
from typing import Literal

from gobbler.fs.atomic_write import replace
from gobbler.model.names import LOGS, VersionKey
from gobbler.model.records import LogEntry, encode, format_time
from gobbler.registry.registry import Registry
from gobbler.registry.workspace import Workspace

_NAME_ATTEMPTS = 1000
"""Number of names to try, a microsecond apart, if other changes have taken the first ones."""


def version_entry(
    kind: Literal["add-version", "delete-version", "reindex-version"],
    key: VersionKey,
    *,
    latest: bool,
) -> LogEntry:
    """The log entry of a change of one version; ``latest``: it is (was) the latest."""
    return LogEntry(
        type=kind, project=key.project, asset=key.asset, version=key.version, latest=latest
    )


def prepare_log(workspace: Workspace, entry: LogEntry, *, flush: bool = False) -> None:
    """Write the log entry of a change into its workspace, over a former one."""
    replace(workspace.log, encode(entry), flush=flush)


def publish_log(registry: Registry, workspace: Workspace) -> None:
    """Link the log entry of ``workspace`` into ``..logs``, if there is one and it is not there.

    The entry appears whole, under a unique name.
    """
    try:
        if os.stat(workspace.log).st_nlink > 1:
            return
    except FileNotFoundError:
        return
    moment = dt.datetime.now(dt.timezone.utc)
    for _ in range(_NAME_ATTEMPTS):
        name = f"{format_time(moment)}_{moment.microsecond:06d}"
        try:
            os.link(workspace.log, registry.path(f"{LOGS}/{name}"))
        except FileExistsError:
            moment += dt.timedelta(microseconds=1)
        else:
            return
    raise FileExistsError(f"no free name for a log entry near {name}")
