"""The differences between the records of a version and its files on disk."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from gobbler.errors import quoted
from gobbler.model.names import VersionKey
from gobbler.model.records import Entry, Link, Links, Manifest, Summary, parse_time
from gobbler.rules.links import (
    InWhitelist,
    Places,
    absolute_target,
    bare,
    below,
    link_problem,
    links_by_directory,
    locate,
    symlink_text,
)
from gobbler.rules.upload_plan import Scan


@dataclass(frozen=True)
class ScannedVersion:
    """A version as it is on disk.

    ``at``: its absolute path. ``hashes``: size in bytes and MD5 of its files and of the targets
    of its links into whitelisted directories. ``links``: its ``..links`` by directory, ``None``
    for one that can't be read. ``linked``: the manifests of the versions that it links to,
    ``None`` for one that does not exist. ``gone``: targets of its links that are not on disk.
    """

    key: VersionKey
    at: str
    scan: Scan
    hashes: Mapping[str, tuple[int, str]]
    links: Mapping[str, Links | None]
    linked: Mapping[VersionKey, Manifest | None]
    gone: Collection[Link]


def problems_of(version: ScannedVersion, manifest: Manifest, places: Places) -> Iterator[str]:
    """Every difference, as a sentence that names the path."""
    for path, problem in version.scan.invalid.items():
        yield f"{quoted(path)} {problem}"
    for path, entry in manifest.items():
        for problem in _entry_problems(version, path, entry, places):
            yield f"{quoted(path)} {problem}"
    listed = manifest.keys()
    for path in (*version.scan.files, *version.scan.symlinks, *version.scan.empty):
        if path not in listed:
            # The words of the Go service, by which clients in R know it.
            yield f"extra file {quoted(path)}: the manifest does not list it"
    yield from _links_problems(version, manifest)


def _entry_problems(
    version: ScannedVersion, path: str, entry: Entry, places: Places
) -> Iterator[str]:
    scan = version.scan
    if entry.is_directory:
        if path not in scan.empty:
            yield "is listed as an empty directory, but is not one"
    elif path not in scan.files and path not in scan.symlinks:
        yield "is listed in the manifest, but missing"
    elif entry.link is not None:
        yield from _link_problems(version, path, entry, entry.link)
    elif path in scan.symlinks:
        yield from _kept_problems(version, path, entry, places)
    else:
        yield from _content_problems(version, path, entry)


def _content_problems(version: ScannedVersion, path: str, entry: Entry) -> Iterator[str]:
    found = version.hashes.get(path)
    if found is None:
        return  # reported as unreadable already
    size, md5sum = found
    if size != entry.size:
        yield f"has {size} bytes, but the manifest lists a size of {entry.size}"
    elif md5sum != entry.md5sum:
        yield f"has the checksum {md5sum}, but the manifest lists {entry.md5sum}"


def _kept_problems(
    version: ScannedVersion, path: str, entry: Entry, places: Places
) -> Iterator[str]:
    text = version.scan.symlinks[path]
    directory = f"{version.at}/{path}".rpartition("/")[0]
    target = locate(absolute_target(directory, text), places)
    if not isinstance(target, InWhitelist):
        yield (
            f"is a symbolic link to {quoted(text)}, which is not in a whitelisted directory, "
            "but the manifest lists no link"
        )
    elif not text.startswith("/"):
        yield f"is a link to a whitelisted directory, but its target {quoted(text)} is relative"
    else:
        yield from _content_problems(version, path, entry)


def _link_problems(version: ScannedVersion, path: str, entry: Entry, link: Link) -> Iterator[str]:
    if (problem := link_problem(link)) is not None:
        yield f"has a link that is not valid: {problem}"
        return
    text = version.scan.symlinks.get(path)
    wanted = symlink_text(version.key, path, link)
    if text is None:
        yield "is listed as a link, but is not a symbolic link"
    elif text != wanted:
        yield _target_problem(version, path, text, wanted)
    yield from _linked_problems(version, entry, link)


def _target_problem(version: ScannedVersion, path: str, text: str, wanted: str) -> str:
    if text.startswith("/"):
        return f"is a link whose target {quoted(text)} is not relative"
    directory = f"{version.at}/{path}".rpartition("/")[0]
    registry = version.at[: -len(version.key.path) - 1]
    if below(absolute_target(directory, text), registry) is None:
        return f"is a link whose target {quoted(text)} leaves the registry"
    return f"is a link to {quoted(text)}, but the manifest's link leads to {quoted(wanted)}"


def _linked_problems(version: ScannedVersion, entry: Entry, link: Link) -> Iterator[str]:
    ends = {link.end: link.end.key.file(link.end.path), bare(link): link.key.file(link.path)}
    for linked, where in ends.items():
        manifest = version.linked.get(linked.key)
        found = None if manifest is None else manifest.get(linked.path)
        if found is None:
            yield f"links to {quoted(where)}, which does not exist"
        elif (found.size, found.md5sum) != (entry.size, entry.md5sum):
            yield f"links to {quoted(where)}, which has another size or checksum"
        elif linked == link.end and found.link is not None:
            yield f"links to {quoted(where)} as the real file, which is a link itself"
        elif linked in version.gone:
            yield f"links to {quoted(where)}, which is not on disk"
        elif linked != link.end and (found.link is None or bare(found.link.end) != link.end):
            yield f"links to {quoted(where)}, which does not lead to the same file"


def _links_problems(version: ScannedVersion, manifest: Manifest) -> Iterator[str]:
    wanted = links_by_directory(manifest)
    for directory in sorted({*wanted, *version.links}):
        expected, found = wanted.get(directory, {}), version.links.get(directory, {})
        if found is None:
            continue  # reported as unreadable already
        for name in sorted({*expected, *found}):
            path = f"{directory}/{name}" if directory else name
            if name not in found:
                yield f"{quoted(path)} is a link that ..links does not list"
            elif name not in expected:
                yield f"{quoted(path)} is listed in ..links, but not a link in the manifest"
            elif expected[name] != found[name]:
                yield f"{quoted(path)} has another link in ..links than in the manifest"


def summary_problems(summary: Summary) -> Iterator[str]:
    """The problems with the fields of a summary."""
    if not summary.upload_user_id:
        yield "..summary: `upload_user_id` is empty"
    for field, text in (
        ("upload_start", summary.upload_start),
        ("upload_finish", summary.upload_finish),
    ):
        if parse_time(text) is None:
            yield f"..summary: `{field}` is not a time: {quoted(text)}"
