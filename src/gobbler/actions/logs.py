"""The log of changes that downstream indexers poll.

Names are ``{time}_{six digits}``: the second in UTC and the microseconds in it, so they
sort in the order of the changes, whatever the daylight saving.
"""

from __future__ import annotations

import datetime as dt
import os

from gobbler.disk.incoming import Job
from gobbler.names import LOGS
from gobbler.records import format_time
from gobbler.registry import Registry

TRIES = 1000


def publish_log(registry: Registry, job: Job) -> None:
    """Make the prepared log entry of ``job`` visible, unless that was done before.

    It appears whole, under a name that nobody else has.
    """
    if os.stat(job.log).st_nlink > 1:
        return
    moment = dt.datetime.now(dt.timezone.utc)
    for _ in range(TRIES):
        name = f"{format_time(moment)}_{moment.microsecond:06d}"
        try:
            os.link(job.log, registry.path(f"{LOGS}/{name}"))
        except FileExistsError:
            moment += dt.timedelta(microseconds=1)
        else:
            return
    raise FileExistsError(f"no free name for a log entry near {name}")
