"""Reviews: an approval is for the state of a version that was shown."""

from __future__ import annotations

from gobbler.client import errors
from gobbler.client.registry_reader import RegistryReader
from gobbler.client.shown_versions import Review
from gobbler.errors import Code, Fault, GobblerError, quoted
from gobbler.model.names import VersionKey
from gobbler.model.records import Summary, decode
from gobbler.rules.manifest import read_manifest

READ_ATTEMPTS = 5


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
