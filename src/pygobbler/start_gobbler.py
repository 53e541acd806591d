"""A service for tests and trials."""

from __future__ import annotations

from collections.abc import Sequence

from gobbler.client import testing


def start_gobbler(
    staging: str | None = None,
    registry: str | None = None,
    port: int | None = None,
    wait: float = 1,
    version: str = "0.5.0",  # noqa: ARG001 - see the docstring
    overwrite: bool = False,  # noqa: ARG001 - see the docstring
    admin: Sequence[str] | None = None,
    extra_args: Sequence[str] = [],
) -> tuple[bool, str, str, str]:
    """Start a service on this machine, in a process of its own, unless one runs already.

    It ends with :func:`stop_gobbler`, or with the interpreter; temporary directories that were
    made for it are then removed.

    Args:
        staging:
            Path of the staging directory; a temporary one by default.
        registry:
            Path of the registry; a temporary one by default.
        port:
            Port to listen on; a free one by default.
        wait:
            Seconds to wait for the service at least before giving it up. The call returns as
            soon as it answers.
        version:
            Accepted so that existing scripts work. The service is always the one of this
            package; nothing is downloaded.
        overwrite:
            Accepted so that existing scripts work; there is nothing to overwrite.
        admin:
            Users who administrate it; by default the present user.
        extra_args:
            More arguments for its command line.

    Returns:
        Whether the service was started just now, its staging directory, its registry, and its
        address. If it ran already, the arguments mean nothing.

    Raises:
        gobbler.errors.Fault: It did not come up; the text has its own output.
    """
    new, service = testing.start(
        staging,
        registry,
        port,
        start_seconds=max(wait, testing.START_SECONDS),
        admin=admin,
        extra_args=extra_args,
    )
    return new, service.staging, service.registry, service.url


def stop_gobbler() -> None:
    """End the service that :func:`start_gobbler` has started, if there is one."""
    testing.stop()
