"""The locks that each kind of change holds, from the registry down, for moments only.

A shared lock of a directory: its entries stay as they are. An exclusive one: the holder may change
anything below it. See "Locks" in docs/format.md.
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
    """Lock the registry to add or remove projects, or to change links anywhere."""
    with (
        locked(registry.path(LOCK), exclusive=True),
        locked(registry.path(LOCK_NEWDIR), exclusive=True),
    ):
        yield


@contextmanager
def changing_project(registry: Registry, project: str) -> Iterator[None]:
    """Lock a project to change its permissions or to remove assets.

    Raises :class:`~gobbler.errors.Missing` if there is no such project.
    """
    with locked(registry.path(LOCK), exclusive=False), _project(registry, project, exclusive=True):
        yield


@contextmanager
def adding_asset(registry: Registry, project: str) -> Iterator[None]:
    """Lock a project to add an asset.

    Raises :class:`~gobbler.errors.Missing` if there is no such project.
    """
    with (
        locked(registry.path(LOCK), exclusive=False),
        _project(registry, project, exclusive=False),
        locked(registry.path(f"{project}/{LOCK_NEWDIR}"), exclusive=True),
    ):
        yield


@contextmanager
def changing_asset(registry: Registry, asset: AssetKey) -> Iterator[None]:
    """Lock an asset to change its permissions, or to add, change or remove versions.

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
    """Lock the usage of a project; the last lock to take, around the change of the versions."""
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
