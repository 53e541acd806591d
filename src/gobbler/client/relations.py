"""The relations of a version to others: links that lead to it, and shared content."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec
from msgspec import Struct

from gobbler.client import errors
from gobbler.client.http import encoded
from gobbler.client.registry_reader import RegistryReader
from gobbler.client.registry_walk import RegistryWalk
from gobbler.errors import GobblerError, Missing, Refused, Unreachable
from gobbler.model.answers import Shared
from gobbler.model.names import VersionKey
from gobbler.model.records import Manifest
from gobbler.rules.dedup import contents_of, shared
from gobbler.rules.links import versions_linked
from gobbler.rules.reroute import Rerouting


class LinkChange(Struct, frozen=True):
    """The change of one link, so that the file that it leads to can be deleted.

    ``path`` is the link's path in the registry, and ``source`` the file that is to be deleted.
    With ``copy`` a copy of the file replaces the link, which adds ``usage`` bytes; otherwise
    the link leads to another file.
    """

    path: str
    copy: bool
    source: str
    usage: int


class Relations(Struct, frozen=True):
    """The relations of a version to others: links and shared content.

    ``links``: links of other versions to its files, and what would happen to each if the version
    were deleted. ``shared``: other versions that have some of its contents. ``problems``: what
    could not be read, so that links or contents may be missing here.
    """

    links: list[LinkChange]
    shared: list[Shared]
    problems: list[str] = []


def relations(reader: RegistryReader, key: VersionKey) -> Relations:
    """The relations of a version: the service's answer, or read from the registry.

    The service answers if it has an index. If it has none, or does not answer, this reads all
    manifests of the registry, if it is mounted here.
    """
    connection = reader.connection
    if connection.url:
        try:
            return connection.http.get(f"/links/{encoded(key.path)}", Relations)
        except (errors.RequestMissing, Unreachable) as error:
            if connection.local is None:
                reader.manifest(key, overwrite=True)  # raises Missing if there is no such version
                if isinstance(error, Unreachable):
                    raise
                raise Refused(
                    f"the service at {connection} does not report links",
                    hint="Run this where the registry is mounted, so that it can be read.",
                ) from error
    walk = RegistryWalk(connection.source)
    found = found_by_reading(key, walk.all_versions(), reader.manifest)
    return msgspec.structs.replace(found, problems=[*map(str, walk.skipped), *found.problems])


def found_by_reading(
    key: VersionKey, versions: Iterable[VersionKey], manifest_of: Callable[[VersionKey], Manifest]
) -> Relations:
    """The relations of the version ``key`` to ``versions``, from their manifests.

    Keeps one manifest in memory at a time, besides those with links to the version. Raises
    :class:`~gobbler.errors.Missing` if there is no such version, and what reading its manifest
    raises.
    """
    own = contents_of(manifest_of(key))
    linking: list[VersionKey] = []
    sharing: list[Shared] = []
    problems: list[str] = []
    for other in versions:
        try:
            manifest = manifest_of(other)
        except Missing:
            continue  # not a version, or just deleted
        except Unreachable:
            raise
        except (GobblerError, OSError) as error:
            problems.append(str(error))
            continue
        if other != key:
            if key in versions_linked(manifest):
                linking.append(other)
            sharing.append(shared(own, other, contents_of(manifest)))
    rerouting = Rerouting({key}, manifest_of)
    changes = [change.to_dict() for other in linking for change in rerouting.changes(other)]
    links = msgspec.convert(changes, list[LinkChange])
    return Relations(
        sorted(links, key=lambda link: link.path),
        [each for each in sharing if each.files],
        problems,
    )
