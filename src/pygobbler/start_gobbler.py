"""Start and stop a service for tests and trials.

The original downloads a binary of the Go service, in a given ``version``, and with ``overwrite``
downloads it again. This package starts its own service, which is always installed. So
``version`` and ``overwrite`` have nothing to select; they are accepted only because existing
scripts pass them.
"""

from __future__ import annotations

from collections.abc import Sequence


def start_gobbler(
    staging: str | None = None,
    registry: str | None = None,
    port: int | None = None,
    wait: float = 1,
    version: str = "0.5.0",  # noqa: ARG001 - see the module's docstring
    overwrite: bool = False,  # noqa: ARG001 - see the module's docstring
    admin: Sequence[str] | None = None,
    extra_args: Sequence[str] = [],
) -> tuple[bool, str, str, str]:
    """Start a service on this machine, in a process of its own, unless one runs already.

    It stops with :func:`stop_gobbler`, or with the interpreter. Then its temporary directories
    are removed.

    Args:
        staging:
            Path of the staging directory; a temporary one by default.
        registry:
            Path of the registry; a temporary one by default.
        port:
            Port to listen on; a free one by default.
        wait:
            Seconds within which the service must answer, at least 30. The call returns as soon as
            it does.
        version:
            No effect; see the module.
        overwrite:
            No effect; see the module.
        admin:
            Its administrators; by default the present user.
        extra_args:
            Further arguments for ``gobbler serve``.

    Returns:
        Whether this call started the service; its staging directory, registry and address. If it
        ran already, the arguments have no effect.

    Raises:
        gobbler.errors.Fault: It did not start; the text has its output.
    """
    from gobbler.client import testing

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
    """Stop the service that :func:`start_gobbler` started, if there is one."""
    from gobbler.client import testing

    testing.stop()
