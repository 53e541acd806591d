"""Removing, repairing and checking: the calls that administrators make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from gobbler.client.calls.requesting import Requesting
from gobbler.model.requests import DeletionTarget


class LinkChange(Struct, frozen=True):
    """What becomes of one link, so that something that it leads to can be deleted.

    ``path`` is the link's path in the registry; ``copy`` tells whether a copy of the file
    takes its place, which adds ``usage`` bytes, or it is led elsewhere; ``source`` is the
    file that is to be deleted.
    """

    path: str
    copy: bool
    source: str
    usage: int


class _Latest(Struct, frozen=True):
    version: str | None = None


class _Usage(Struct, frozen=True):
    total: int


class _Rerouted(Struct, frozen=True):
    changes: list[LinkChange] | None = None


class Administration(Requesting):
    """What only administrators may have the service do."""

    def delete_project(self, project: str) -> None:
        """Remove a project with all that is in it. If there is none, nothing happens."""
        self.request("delete_project", project=project)

    def delete_asset(self, project: str, asset: str, *, force: bool = False) -> None:
        """Remove an asset with all its versions. If there is none, nothing happens.

        ``force``: also when its records can't be read.
        """
        self.request("delete_asset", project=project, asset=asset, force=force)

    def delete_version(
        self, project: str, asset: str, version: str, *, force: bool = False
    ) -> None:
        """Remove a version. If there is none, nothing happens.

        Links of other versions to its files break, unless they are led elsewhere before:
        see :meth:`reroute_links`. ``force``: also when its records can't be read.
        """
        self.request("delete_version", project=project, asset=asset, version=version, force=force)

    def refresh_latest(self, project: str, asset: str) -> str | None:
        """Find anew which version of an asset is the latest; its name, if there is one."""
        return self._request_as(_Latest, "refresh_latest", project=project, asset=asset).version

    def refresh_usage(self, project: str) -> int:
        """Count anew how many bytes a project takes."""
        return self._request_as(_Usage, "refresh_usage", project=project).total

    def reindex_version(self, project: str, asset: str, version: str) -> None:
        """Make the manifest and the links of a version anew from the files that are there."""
        self.request("reindex_version", project=project, asset=asset, version=version)

    def validate_version(self, project: str, asset: str, version: str) -> None:
        """Compare a version with its records, every byte of it; change nothing.

        Raises :class:`~gobbler.client.errors.RequestFailed` with the first of what is wrong
        as its text and all of it as ``problems``.
        """
        self.request("validate_version", project=project, asset=asset, version=version)

    def reroute_links(
        self, to_delete: Sequence[DeletionTarget | Mapping[str, object]], *, dry_run: bool = False
    ) -> list[LinkChange]:
        """Lead the links of all other versions around what is to be deleted.

        A link goes to where its target was linked to itself, and where that is deleted,
        too, a copy of the file takes its place. Answers what was changed; with ``dry_run``
        what would be, and nothing is.
        """
        answer = self._request_as(
            _Rerouted, "reroute_links", to_delete=list(to_delete), dry_run=dry_run
        )
        return answer.changes or []
