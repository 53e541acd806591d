"""What is linked to a version, and what has the same content: asked, or found by reading."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from urllib.parse import quote

import msgspec
from msgspec import Struct

from gobbler.client.calls.administration import LinkChange
from gobbler.client.calls.reads import Reads
from gobbler.client.errors import RequestMissing
from gobbler.errors import Missing, Refused, Unreachable
from gobbler.model.answers import Shared
from gobbler.model.names import VersionKey
from gobbler.model.records import Manifest
from gobbler.rules.dedup import contents_of, shared
from gobbler.rules.links import versions_linked
from gobbler.rules.reroute import Rerouting


class Relations(Struct, frozen=True):
    """How a version belongs to others.

    ``links``: links of other versions to its files, and what would become of each if it had
    to be deleted. ``shared``: other versions that have some of its contents.
    """

    links: list[LinkChange]
    shared: list[Shared]


class Relating(Reads):
    """What anybody may ask about how versions belong together."""

    def relations(self, project: str, asset: str, version: str) -> Relations:
        """How a version belongs to others.

        The service is asked, which may have an index. Where there is none, or none that
        knows, all manifests of the registry are read, if it is mounted here.
        """
        key = VersionKey.checked(project, asset, version)
        if self.url:
            try:
                return self._http.get(f"/links/{quote(key.path)}", Relations)
            except (RequestMissing, Unreachable) as error:
                if self._local is None:
                    self.manifest(project, asset, version, overwrite=True)  # is it there at all?
                    if isinstance(error, Unreachable):
                        raise
                    raise Refused(
                        f"the service at {self.url} does not tell what is linked",
                        hint="Where the registry is mounted, it can be read instead.",
                    ) from error
        return found_by_reading(key, self._all_versions(), self._manifest)

    def _manifest(self, key: VersionKey) -> Manifest:
        return self.manifest(key.project, key.asset, key.version)

    def _all_versions(self) -> list[VersionKey]:
        return [
            VersionKey(project, asset, version)
            for project in self.projects()
            for asset in self.assets(project)
            for version in self.versions(project, asset)
        ]


def found_by_reading(
    key: VersionKey, versions: Iterable[VersionKey], manifest_of: Callable[[VersionKey], Manifest]
) -> Relations:
    """The relations of the version ``key`` to the others of ``versions``.

    One manifest is kept at a time, besides those with links into it. Raises
    :class:`~gobbler.errors.Missing` if there is no such version, and
    :class:`~gobbler.errors.Fault` where a manifest is damaged.
    """
    own = contents_of(manifest_of(key))
    linking: list[VersionKey] = []
    sharing: list[Shared] = []
    for other in versions:
        try:
            manifest = manifest_of(other)
        except Missing:
            continue  # no version, or one that has just gone
        if other != key:
            if key in versions_linked(manifest):
                linking.append(other)
            sharing.append(shared(own, other, contents_of(manifest)))
    rerouting = Rerouting({key}, manifest_of)
    told = [change.to_dict() for other in linking for change in rerouting.changes(other)]
    links = msgspec.convert(told, list[LinkChange])
    return Relations(
        sorted(links, key=lambda link: link.path), [each for each in sharing if each.files]
    )
