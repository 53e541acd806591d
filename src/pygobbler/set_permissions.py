"""Set the permissions of a project or an asset."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

from gobbler.client import Client
from gobbler.model.records import plain

P = ParamSpec("P")
T = TypeVar("T")


def _also_in_the_older_order(function: Callable[P, T]) -> Callable[P, T]:
    """Recognise calls of release 0.1.1, which had no ``asset`` after ``url``."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        if _is_older(args[4:]):
            return function(*args[:4], None, *args[4:], **kwargs)  # type: ignore[arg-type]
        return function(*args, **kwargs)

    return call


def _is_older(after_url: Sequence[object]) -> bool:
    """Whether these can only be ``owners, uploaders, global_write`` and no ``asset`` first."""
    nothing: list[object] = [None] * 3
    owners, uploaders, global_write = [*after_url, *nothing][:3]
    if owners is not None:
        return not isinstance(owners, str)
    listed = uploaders if isinstance(uploaders, Sequence) else ()
    return isinstance(global_write, bool) or any(isinstance(each, Mapping) for each in listed)


@_also_in_the_older_order
def set_permissions(
    project: str,
    registry: str,
    staging: str,
    url: str,
    asset: str | None = None,
    owners: Sequence[str] | None = None,
    uploaders: Sequence[Mapping[str, Any]] | None = None,
    global_write: bool | None = None,
    append: bool = True,
    spoof: str | None = None,
    dry_run: bool = False,
) -> dict[str, Any] | None:
    """Set who owns a project or an asset, and who may upload to it. Its owners may do this.

    Args:
        project:
            Name of the project.
        registry:
            Path of the registry. If it is a directory on this machine, it is read directly.
        staging:
            Path of the staging directory of the service.
        url:
            Address of the service.
        asset:
            Name of an asset, to set its own permissions instead of the project's. A list of
            owners is taken as a call of release 0.1.1, where ``owners``, ``uploaders``,
            ``global_write`` and ``append`` were one position earlier.
        owners:
            Users who own it; by default unchanged.
        uploaders:
            Who else may upload, in the form of ``uploaders`` in
            :func:`~pygobbler.fetch_permissions.fetch_permissions`; by default unchanged.
        global_write:
            Whether every user may add an asset to the project; by default unchanged.
        append:
            Add ``owners`` and ``uploaders`` to the present ones; otherwise replace them. A present
            owner is not added twice.
        spoof:
            Act for this user, where the service allows it.
        dry_run:
            Change nothing, and return what would be sent.

    Returns:
        Nothing; with ``dry_run`` a dict with the ``owners``, ``uploaders`` and ``global_write``
        that would be sent.

    Raises:
        requests.HTTPError: The service refused the request or failed. The text is its reason.
        gobbler.errors.Missing: There is no such project.
    """
    client = Client(url, staging=staging, registry=registry)
    owner = client.project(project) if asset is None else client.asset(project, asset)
    sent = owner.set_permissions(
        owners=owners,
        uploaders=uploaders,
        global_write=global_write,
        append=append,
        force=True,
        spoof=spoof,
        dry_run=dry_run,
    )
    return plain(sent) if dry_run else None
