"""A project: assets that belong to the same owners."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from gobbler.client import source
from gobbler.client.asset import Asset
from gobbler.client.handle import Handle, checked_name
from gobbler.client.registry_reader import RegistryReader
from gobbler.model.records import Permissions

if TYPE_CHECKING:
    from gobbler.client.permissions import NewPermissions
    from gobbler.rules.given_permissions import AnyUploader


class Project(Handle):
    """A project, as a collection of its assets.

    ::

        project = client.project("weather")
        "stations" in project
        [asset.name for asset in project]
        project / "stations" / "1.4" / "berlin.csv"

    Methods raise :class:`~gobbler.errors.Missing` if there is no such project.
    """

    def __init__(self, reader: RegistryReader, name: str) -> None:
        super().__init__(reader, name)
        self.name = name

    def asset(self, name: str) -> Asset:
        """The asset ``name``, whether or not it exists.

        Raises :class:`~gobbler.errors.Refused` if that can't be the name of an asset.
        """
        return Asset(self, checked_name("asset", name))

    __truediv__ = asset

    def assets(self) -> list[Asset]:
        """All assets, by name."""
        found = source.names(self._reader.connection.source, self.name)
        return [Asset(self, name) for name in found]

    def __iter__(self) -> Iterator[Asset]:
        return iter(self.assets())

    def __len__(self) -> int:
        return len(self.assets())

    def __contains__(self, asset: object) -> bool:
        return any(asset in (each, each.name) for each in self.assets())

    def exists(self) -> bool:
        """Whether the registry has this project."""
        return self.name in source.names(self._reader.connection.source, ".")

    def usage(self) -> int:
        """Bytes that the project takes; links take none."""
        return source.usage(self._reader.connection.source, self.name)

    def permissions(self) -> Permissions:
        """The owners and uploaders of the project."""
        return source.permissions(self._reader.connection.source, self.name)

    def set_permissions(
        self,
        *,
        owners: Sequence[str] | None = None,
        uploaders: Sequence[AnyUploader] | None = None,
        global_write: bool | None = None,
        append: bool = True,
        force: bool = False,
        spoof: str | None = None,
        dry_run: bool = False,
    ) -> NewPermissions:
        """Set who owns the project, and who may upload to it. Its owners may do this.

        To append, the stored permissions are read first: if two users append at the same moment,
        one may undo the other.

        Args:
            owners: Users who own it; ``None`` keeps the present ones.
            uploaders: Who else may upload; ``None`` keeps the present ones.
            global_write: Whether everybody may add an asset; ``None`` keeps it as it is.
            append: Add ``owners`` and ``uploaders`` to the stored ones, owners once each;
                otherwise replace them.
            force: Accept that nobody owns the project, and names that no user can have.
            spoof: Act for this user, where the service allows it.
            dry_run: Return the permissions that would be sent, and change nothing.

        Returns:
            The permissions that were sent to the service.

        Raises:
            errors.RequestRefused: An entry has a field that is not known, or can't be meant; or
                the last owner would go (``no-owner``), without ``force``.
        """
        from gobbler.client.permissions import set_permissions

        return set_permissions(
            self._reader.connection,
            self.name,
            None,
            owners=owners,
            uploaders=uploaders,
            global_write=global_write,
            append=append,
            force=force,
            spoof=spoof,
            dry_run=dry_run,
        )
