"""Reviews: an approval is for the state of a version that was shown."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, TypeVar

from msgspec import Struct

from gobbler.client import errors
from gobbler.client.parallel import ForkSafeLock
from gobbler.errors import Code, Fault, GobblerError, quoted
from gobbler.model.names import VersionKey
from gobbler.model.records import Manifest, Summary, decode
from gobbler.rules.manifest import read_manifest

if TYPE_CHECKING:
    from gobbler.client.registry_reader import RegistryReader

T = TypeVar("T")

READ_ATTEMPTS = 5


class Review(Struct, frozen=True):
    """A version as it was reviewed: its records, and the digest that an approval names.

    ``digest``: the SHA-256 of ``..summary`` followed by ``..manifest``.
    """

    summary: Summary
    manifest: Manifest
    digest: str


class ShownVersions:
    """The records that a client has shown of each version; safe to share between threads.

    A manifest can be large, so it is kept for the last few versions only, and its hash for others.
    """

    MANIFESTS = 8
    VERSIONS = 10_000

    def __init__(self) -> None:
        self._lock = ForkSafeLock()
        self._summaries: OrderedDict[VersionKey, Summary] = OrderedDict()
        self._manifests: OrderedDict[VersionKey, Manifest] = OrderedDict()
        self._hashes: OrderedDict[VersionKey, int] = OrderedDict()

    def summary(self, key: VersionKey, summary: Summary) -> None:
        """Remember that ``summary`` was shown."""
        with self._lock:
            self._summaries[key] = summary
            _keep_last(self._summaries, self.VERSIONS)

    def manifest(self, key: VersionKey, manifest: Manifest, *, again: bool = True) -> None:
        """Remember that ``manifest`` was shown; unless ``again``, only if none was shown before."""
        with self._lock:
            if not again and (key in self._manifests or key in self._hashes):
                return
            self._hashes.pop(key, None)
            self._manifests[key] = manifest
            self._manifests.move_to_end(key)
            for older, shown in _keep_last(self._manifests, self.MANIFESTS):
                self._hashes[older] = _hash(shown)
            _keep_last(self._hashes, self.VERSIONS)

    def is_other(self, key: VersionKey, found: Review) -> bool:
        """Whether ``found`` differs from what was shown of it."""
        with self._lock:
            summary = self._summaries.get(key, found.summary)
            manifest = self._manifests.get(key, found.manifest)
            known = self._hashes.get(key)
        if summary != found.summary or manifest != found.manifest:
            return True
        return known is not None and known != _hash(found.manifest)

    def forget(self, key: VersionKey) -> None:
        """Forget what was shown of a version."""
        with self._lock:
            self._summaries.pop(key, None)
            self._manifests.pop(key, None)
            self._hashes.pop(key, None)


def _keep_last(kept: OrderedDict[VersionKey, T], count: int) -> list[tuple[VersionKey, T]]:
    removed = []
    while len(kept) > count:
        removed.append(kept.popitem(last=False))
    return removed


def _hash(manifest: Manifest) -> int:
    return hash(frozenset(manifest.items()))


def review(reader: RegistryReader, key: VersionKey) -> Review:
    """Read the records of a version on probation as they are now, and remember them as shown."""
    found = _read(reader, key)
    reader.shown.summary(key, found.summary)
    reader.shown.manifest(key, found.manifest)
    return found


def _read(reader: RegistryReader, key: VersionKey) -> Review:
    from gobbler.rules.review import review_digest

    source = reader.connection.source
    for _ in range(READ_ATTEMPTS):
        summary = source.read(key.summary)
        manifest = source.read(key.manifest)
        if source.read(key.summary) == summary:
            return Review(
                decode(summary, Summary, key.summary),
                read_manifest(manifest, key.manifest),
                review_digest(summary, manifest),
            )
    raise Fault(
        f"version {quoted(key.path)} changed {READ_ATTEMPTS} times while it was read",
        code=Code.CONTENTION,
    )


def approved_digest(
    reader: RegistryReader, key: VersionKey, reviewed: Review | str | None
) -> str | None:
    """The digest that an approval sends: of what was reviewed, or shown, or is there now.

    ``None`` if nothing can be read here: then the service decides alone. Raises
    :class:`~gobbler.client.errors.RequestRefused` if the version is another one now.
    """
    given = None
    if reviewed is not None:
        digest = reviewed.digest if isinstance(reviewed, Review) else reviewed
        from gobbler.rules.review import checked_digest

        given = checked_digest(digest, "`reviewed`")
    try:
        found = _read(reader, key) if reader.connection.can_read else None
    except (GobblerError, OSError):
        found = None  # the service says why
    if found is None or not found.summary.on_probation:
        return given
    is_other = reader.shown.is_other(key, found) if given is None else given != found.digest
    if is_other:
        reader.forget(key)
        raise errors.RequestRefused(
            f"version {quoted(key.path)} is not the one that was reviewed: its digest is "
            f"{found.digest}",
            code=Code.NOT_REVIEWED,
            hint="It was uploaded again, or reindexed, since. Review it again.",
        )
    return found.digest
