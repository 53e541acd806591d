"""What goes on in the background of a service or a worker: recovery, and tidying up."""

from __future__ import annotations

import logging
import os
import shutil
import threading
import time
from contextlib import suppress
from itertools import chain, repeat

from gobbler.actions.recovery import recover
from gobbler.doctor import workplace
from gobbler.errors import GobblerError
from gobbler.names import INCOMING
from gobbler.registry import Registry
from gobbler.service.housekeeping import tidy
from gobbler.service.settings import Settings
from gobbler.spool.begun import Begun
from gobbler.spool.jobs import Spool

SWEEP_EVERY = 60.0
"""Seconds between two looks for what crashed workers, here or elsewhere, have left."""

WRITTEN_WITHIN = 600.0
"""Seconds after which nobody goes on writing a small file."""

TIDY_EVERY = 86_400.0
"""Seconds between two rounds of removing what is old."""

logger = logging.getLogger(__name__)


def start_upkeep(settings: Settings) -> None:
    """Begin with it, in threads that end with the process."""
    for task in (_sweep_now_and_then, _tidy_daily):
        threading.Thread(target=task, args=(settings,), name=task.__name__, daemon=True).start()


def sweep(settings: Settings) -> None:
    """Put right what a crash may have left. What fails is logged."""
    try:
        finished, swept = recover(Registry(settings.registry), settings.durability)
        Begun(settings.begun).forget_old()
        _remove_probes(settings, time.time() - WRITTEN_WITHIN)
        Spool(settings.staging, settings.durability).sweep(time.time() - WRITTEN_WITHIN)
    except (GobblerError, OSError):
        logger.exception("could not look for what a crash may have left")
        return
    if finished or swept:
        logger.warning("recovered from a crash: %d finished, %d swept", finished, swept)


def _remove_probes(settings: Settings, limit: float) -> None:
    """Remove what the probes at the start of a service leave if it is killed meanwhile."""
    incoming = f"{settings.registry}/{INCOMING}"
    for name in os.listdir(incoming):
        if name.startswith(workplace.PREFIX):
            with suppress(FileNotFoundError):
                if os.lstat(f"{incoming}/{name}").st_mtime < limit:
                    shutil.rmtree(f"{incoming}/{name}")


def _sweep_now_and_then(settings: Settings) -> None:
    # A process that was killed may take seconds to be gone, its locks with it.
    for pause in chain((1, 5, 15), repeat(SWEEP_EVERY)):
        time.sleep(pause)
        sweep(settings)


def _tidy_daily(settings: Settings) -> None:
    while True:
        tidy(settings)
        time.sleep(TIDY_EVERY)
