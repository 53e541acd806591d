"""The locks that each kind of change holds, from the registry down, for moments only.

Shared: I rely on the entries of this directory. Exclusive: I may change anything below it.
See "Locks" in docs/format.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from gobbler.errors import Code, Missing, quoted
from gobbler.fs.lock import locked
from gobbler.model.names import LOCK, LOCK_NEWDIR, LOCK_USAGE, AssetKey
from gobbler.registry.registry import Registry


@contextmanager
def changing_registry(registry: Registry) -> Iterator[None]:
    """Projects may come and go, and links anywhere may change."""
    with (
        locked(registry.path(LOCK), exclusive=True),
        locked(registry.path(LOCK_NEWDIR), exclusive=True),
    ):
        yield


@contextmanager
def changing_project(registry: Registry, project: str) -> Iterator[None]:
    """A project's permissions may change, and its assets may go.

    Raises :class:`~gobbler.errors.Missing` if there is no such project.
    """
    with locked(registry.path(LOCK), exclusive=False), _project(registry, project, exclusive=True):
        yield


@contextmanager
def adding_asset(registry: Registry, project: str) -> Iterator[None]:
    """An asset may come. Raises :class:`~gobbler.errors.Missing` without the project."""
    with (
        locked(registry.path(LOCK), exclusive=False),
        _project(registry, project, exclusive=False),
        locked(registry.path(f"{project}/{LOCK_NEWDIR}"), exclusive=True),
    ):
        yield


@contextmanager
def changing_asset(registry: Registry, asset: AssetKey) -> Iterator[None]:
    """An asset's permissions may change, and its versions may come, change and go.

    Raises :class:`~gobbler.errors.Missing` if there is no such project or asset.
    """
    with (
        locked(registry.path(LOCK), exclusive=False),
        _project(registry, asset.project, exclusive=False),
    ):
        check_asset(registry, asset)
        with locked(registry.path(f"{asset.path}/{LOCK}"), exclusive=True):
            yield


@contextmanager
def changing_usage(registry: Registry, project: str) -> Iterator[None]:
    """A project's usage may change; taken last, around what changes it."""
    with locked(registry.path(f"{project}/{LOCK_USAGE}"), exclusive=True):
        yield


@contextmanager
def _project(registry: Registry, project: str, *, exclusive: bool) -> Iterator[None]:
    check_project(registry, project)
    with locked(registry.path(f"{project}/{LOCK}"), exclusive=exclusive):
        yield


def check_project(registry: Registry, project: str) -> None:
    """Raise :class:`~gobbler.errors.Missing` if there is no such project."""
    if not registry.has(project):
        raise Missing(f"project {quoted(project)} does not exist", code=Code.PROJECT_NOT_FOUND)


def check_asset(registry: Registry, asset: AssetKey) -> None:
    """Raise :class:`~gobbler.errors.Missing` if there is no such project or asset."""
    check_project(registry, asset.project)
    if not registry.has(asset.path):
        raise Missing(f"asset {quoted(asset.path)} does not exist", code=Code.ASSET_NOT_FOUND)
