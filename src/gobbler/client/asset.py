"""An asset: the versions of one set of data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from gobbler.client import source
from gobbler.client.address import AT_LATEST
from gobbler.client.handle import Handle, checked_name
from gobbler.client.version import Version
from gobbler.errors import Code, Missing, quoted
from gobbler.model.names import AssetKey
from gobbler.model.records import Permissions

if TYPE_CHECKING:
    from gobbler.client.permissions import NewPermissions
    from gobbler.client.project import Project
    from gobbler.rules.given_permissions import AnyUploader


class Asset(Handle):
    """An asset of a project, as a collection of its versions.

    ::

        asset = client.asset("weather/stations")
        asset.latest()
        "1.4" in asset
        [version.name for version in asset]

    Methods raise :class:`~gobbler.errors.Missing` if there is no such asset.
    """

    def __init__(self, project: Project, name: str) -> None:
        self.key = AssetKey(project.name, name)
        super().__init__(project._reader, self.key.path)
        self.project = project
        self.name = name

    def version(self, name: str = AT_LATEST) -> Version:
        """The version ``name``, whether or not it exists; without a name, the latest one.

        Raises :class:`~gobbler.errors.Missing` if there is no latest version, and
        :class:`~gobbler.errors.Refused` if ``name`` can't be the name of a version.
        """
        if name != AT_LATEST:
            return Version(self, checked_name("version", name))
        latest = self.latest()
        if latest is None:
            raise Missing(
                f"asset {quoted(str(self))} has no latest version",
                code=Code.VERSION_NOT_FOUND,
                hint=f"It may have versions on probation: gobbler ls {self}",
            )
        return latest

    __truediv__ = version

    def latest(self) -> Version | None:
        """The version that was published last; ``None`` if none is final."""
        name = source.latest(self._reader.connection.source, self.key)
        return None if name is None else Version(self, name)

    def versions(self) -> list[Version]:
        """All versions, by name, with those on probation."""
        found = source.names(self._reader.connection.source, self.key.path)
        return [Version(self, name) for name in found]

    def __iter__(self) -> Iterator[Version]:
        return iter(self.versions())

    def __len__(self) -> int:
        return len(self.versions())

    def __contains__(self, version: object) -> bool:
        return any(version in (each, each.name) for each in self.versions())

    def exists(self) -> bool:
        """Whether the project has this asset."""
        try:
            return self.name in source.names(self._reader.connection.source, self.project.name)
        except Missing:
            return False

    def permissions(self) -> Permissions:
        """The permissions that the asset has of its own, besides those of its project."""
        return source.permissions(self._reader.connection.source, self.key.project, self.name)

    def set_permissions(
        self,
        *,
        owners: Sequence[str] | None = None,
        uploaders: Sequence[AnyUploader] | None = None,
        append: bool = True,
        force: bool = False,
        spoof: str | None = None,
        dry_run: bool = False,
        global_write: bool | None = None,
    ) -> NewPermissions:
        """Set who owns the asset, and who may upload to it. The project's owners may do this.

        The parameters are those of :meth:`Project.set_permissions`.
        """
        from gobbler.client.permissions import set_permissions

        return set_permissions(
            self._reader.connection,
            self.key.project,
            self.name,
            owners=owners,
            uploaders=uploaders,
            global_write=global_write,
            append=append,
            force=force,
            spoof=spoof,
            dry_run=dry_run,
        )
