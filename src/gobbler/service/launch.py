"""The launch of a service: it checks its directories, listens, and only then loads the rest.

Who connects meanwhile waits in the queue of the socket, and is answered as soon as a process can.
Whatever may keep the service from starting is found out before it listens, so no connection is
taken that gets no answer.
"""

from __future__ import annotations

import dataclasses
import gc
import logging
import logging.config
import os
from collections.abc import Callable

from gobbler.fs.open_files import allow_many_files
from gobbler.service.listener import bound_socket, inherited_socket, listen
from gobbler.service.log_format import LogFormat, log_config
from gobbler.service.settings import Settings, check_directories, check_index, warn_about_root

logger = logging.getLogger(__name__)


def serve(
    settings: Settings,
    form: LogFormat,
    *,
    debug: bool,
    on_start: Callable[[], None] = lambda: None,
) -> None:
    """Run the service until SIGTERM or SIGINT; ``on_start`` is called once it has started.

    Raises :class:`~gobbler.errors.Misconfigured` if it can't start.
    """
    gc.disable()  # of what is loaded, nothing becomes garbage; the supervisor enables it
    try:
        _serve(settings, form, debug=debug, on_start=on_start)
    finally:
        gc.enable()


def _serve(
    settings: Settings, form: LogFormat, *, debug: bool, on_start: Callable[[], None]
) -> None:
    os.umask(0o022)
    logging.config.dictConfig(log_config(form, debug=debug))
    warn_about_root()
    inherited = inherited_socket()
    if inherited is not None:
        host, port = inherited.getsockname()[:2]
        settings = dataclasses.replace(settings, host=host, port=port)
    with inherited or bound_socket(settings.host, settings.port) as listener:
        check_directories(settings)
        check_index(settings)
        if settings.dask:
            # It loads the library of the cluster.
            from gobbler.cluster.dask import check_cluster  # noqa: PLC0415

            check_cluster(settings.dask)
        allow_many_files()
        if inherited is None:
            listen(listener, settings.host, settings.port)
        # Only now, since it takes most of the time of a start.
        from gobbler.service.supervisor import Supervisor  # noqa: PLC0415

        Supervisor(settings, listener, outlived=inherited is not None).run(on_start)
    logger.info("stopped")
