"""The plan of an upload: copy, link, keep or refuse each entry of the source.

The plan is made from values alone: what the scan found, where each symbolic link leads,
and the manifests of the versions that are linked to.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from gobbler.errors import Code, Refused, quoted
from gobbler.model.names import VersionKey
from gobbler.model.records import EMPTY_DIRECTORY, Entry, Link, Manifest
from gobbler.rules.links import (
    OUTSIDE,
    SOURCE_ITSELF,
    InRegistry,
    InSource,
    InWhitelist,
    Locator,
    Nowhere,
    Places,
    RealDirectory,
    Target,
    bare,
    link_to,
    text_problem,
)

MAX_PROBLEMS_SHOWN = 3


@dataclass(frozen=True)
class Scan:
    """The entries of a source, by paths relative to it.

    ``files``: sizes in bytes. ``symlinks``: texts. ``directories``: all but the source itself,
    parents first. ``empty``: the empty ones. ``invalid``: the problems of entries that can't be
    published. ``ignored``: entries that an upload leaves out, without what is below them.
    ``unreadable``: those of the invalid ones that the account of the scan may not read;
    ``foreign``: those that other users keep to themselves. ``executable``: files that their owner
    may execute. ``elsewhere``: for files in place of links that were followed,
    the paths to read. ``sparse``: the bytes that files with holes take on the disk.
    """

    files: dict[str, int]
    symlinks: dict[str, str]
    directories: list[str]
    empty: list[str]
    invalid: dict[str, str]
    unreadable: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    executable: list[str] = field(default_factory=list)
    elsewhere: dict[str, str] = field(default_factory=dict)
    sparse: dict[str, int] = field(default_factory=dict)

    def space(self, files: Iterable[str]) -> int:
        """Bytes on a disk that copies of ``files`` take, if they keep the holes."""
        return sum(self.sparse.get(path, self.files[path]) for path in files)


@dataclass(frozen=True)
class PublishedVersion:
    """A version that is linked to, as far as a plan needs it.

    ``is_restricted``: fewer users may read it than the new version.
    """

    manifest: Manifest
    on_probation: bool
    is_restricted: bool = False


@dataclass(frozen=True)
class Plan:
    """The plan of an upload for each entry of its source.

    ``copies``: sizes in bytes of the files to copy. ``kept``: symbolic links into whitelisted
    directories. ``known``: entries that need no reading. ``local``: links within the version, each
    after the link that it leads to. ``sparse``: the bytes that files with holes take on the disk.
    ``warnings``: what the version does not keep.
    """

    directories: list[str]
    copies: dict[str, int]
    kept: dict[str, InWhitelist]
    known: Manifest
    local: list[tuple[str, str]]
    sparse: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @property
    def link_levels(self) -> int:
        """The number of directories above the deepest link within the version."""
        return max((path.count("/") for path, _ in self.local), default=0)

    def space(self, files: Iterable[str]) -> int:
        """Bytes on a disk that copies of ``files`` take."""
        return sum(self.sparse.get(path, self.copies[path]) for path in files)


FOREIGN_HINT = (
    "Whoever owns it has to let everybody read it (chmod a+rX), or you leave it out of the source."
)
"""The hint for what belongs to other users."""


def check_scan(scan: Scan, *, unreadable: str = "", capacity: int | None = None) -> None:
    """Raise :class:`~gobbler.errors.Refused` if ``scan`` has entries that can't be published.

    ``unreadable``: the hint for entries that can't be read. ``capacity``: bytes of the filesystem
    of the registry. Files with holes may not have more in all, or they would be hashed for days.
    """
    if scan.invalid:
        raise Refused(
            summarise({path: f"{quoted(path)} {scan.invalid[path]}" for path in scan.invalid}),
            code=Code.INVALID_SOURCE,
            hint=unreadable if scan.unreadable else FOREIGN_HINT if scan.foreign else "",
        )
    if capacity is None or (total := sum(scan.files[path] for path in scan.sparse)) <= capacity:
        return
    largest = max(scan.sparse, key=lambda path: scan.files[path])
    raise Refused(
        f"{quoted(largest)} has {scan.files[largest]} bytes, of which {scan.sparse[largest]} are "
        f"stored and the others are holes; such files have {total} bytes in all, but the "
        f"filesystem of the registry only {capacity}",
        code=Code.INVALID_SOURCE,
        hint="Whoever copies them may fill a disk with zeros, and each zero must be hashed. Write "
        "them in a format that leaves out what is empty.",
    )


def locate_links(scan: Scan, at: str, places: Places, real: RealDirectory) -> dict[str, Target]:
    """The target of each symbolic link of ``scan``, in a source at the path ``at``.

    ``at`` passes no link; ``real`` asks the filesystem about directories elsewhere.
    """
    locator = Locator(places, at, scan.directories, real)
    return {path: locator(path.rpartition("/")[0], text) for path, text in scan.symlinks.items()}


def linked_versions(targets: Mapping[str, Target]) -> set[VersionKey]:
    """The versions that :func:`make_plan` needs."""
    return {target.key for target in targets.values() if isinstance(target, InRegistry)}


FOLLOW_HINT = (
    "To publish what such links lead to in their place: gobbler upload --follow-links (in Python, "
    "follow_links=True)."
)
"""The hint for links that an upload may follow instead."""


def make_plan(
    key: VersionKey,
    scan: Scan,
    targets: Mapping[str, Target],
    versions: Mapping[VersionKey, PublishedVersion | None],
    *,
    outside: str = FOLLOW_HINT,
) -> Plan:
    """Decide for every entry of ``scan`` what it becomes in the new version ``key``.

    ``targets``: the result of :func:`locate_links`. ``versions``: each of
    :func:`linked_versions`, ``None`` for one that does not exist. Raises
    :class:`~gobbler.errors.Refused` that names entries that can't be published, with the hint
    ``outside`` if links lead where they may not.
    """
    check_scan(scan)
    known: Manifest = dict.fromkeys(scan.empty, EMPTY_DIRECTORY)
    kept: dict[str, InWhitelist] = {}
    local: dict[str, str] = {}
    problems: dict[str, str] = {}
    for path, target in targets.items():
        if isinstance(target, InSource):
            local[path] = target.path
        elif isinstance(target, InWhitelist):
            kept[path] = target
        elif isinstance(target, Nowhere):
            problems[path] = target.problem
        else:
            found = _registry_link(key, target, versions[target.key])
            if isinstance(found, Entry):
                known[path] = found
            else:
                problems[path] = found
    ordered = list(_in_order(local, scan, problems))
    problems |= _too_far(key, known, ordered)
    if problems:
        raise Refused(
            summarise(
                {
                    path: f"symbolic link {quoted(path)} can't be published: its target "
                    f"{quoted(scan.symlinks[path])} {problem}"
                    for path, problem in problems.items()
                }
            ),
            code=Code.INVALID_SOURCE,
            hint=outside if any(map(_can_be_followed, problems.values())) else "",
        )
    warning = executable_warning(scan)
    warnings = [] if warning is None else [warning]
    return Plan(scan.directories, scan.files, kept, known, ordered, scan.sparse, warnings)


A_DIRECTORY = "is a directory"


def _can_be_followed(problem: str) -> bool:
    """Whether a link with this ``problem`` leads to a file or a directory."""
    return problem in (OUTSIDE.problem, A_DIRECTORY, SOURCE_ITSELF.problem)


def executable_warning(scan: Scan) -> str | None:
    """What to say of executable files, whose permissions a version does not keep."""
    if not scan.executable:
        return None
    shown = ", ".join(quoted(path) for path in sorted(scan.executable)[:MAX_PROBLEMS_SHOWN])
    more = len(scan.executable) - MAX_PROBLEMS_SHOWN
    which = f"{shown} and {more} more" if more > 0 else shown
    return f"a version does not keep that files are executable: {which}"


def _registry_link(
    key: VersionKey, target: InRegistry, version: PublishedVersion | None
) -> Entry | str:
    if target.key == key:
        return "is in the version that is being uploaded"
    if version is None:
        return f"is in a version that does not exist: {quoted(target.key.path)}"
    if version.on_probation:
        return f"is in a version on probation: {quoted(target.key.path)}"
    if version.is_restricted:
        return f"is in a version that fewer users may read: {quoted(target.key.path)}"
    entry = version.manifest.get(target.path)
    if entry is None:
        return f"is not a file of {quoted(target.key.path)}"
    if entry.is_directory:
        return A_DIRECTORY
    return Entry(entry.size, entry.md5sum, link_to(target.key, target.path, version.manifest))


def _in_order(
    local: Mapping[str, str], scan: Scan, problems: dict[str, str]
) -> Iterator[tuple[str, str]]:
    """The local links, each after the one that it leads to; records those that lead nowhere."""
    directories = set(scan.directories)
    settled: set[str] = set()
    for start in sorted(local):
        trail: dict[str, None] = {}
        path = start
        while path in local and path not in settled and path not in trail:
            trail[path] = None
            path = local[path]
        if path in directories:
            problem = A_DIRECTORY
        elif path in trail:
            problem = "leads back to the link itself"
        elif path not in scan.files and path not in scan.symlinks:
            problem = "does not exist in the source, or is ignored"
        else:
            problem = ""
        for link in reversed(trail):
            settled.add(link)
            if problem or local[link] in problems:
                problems[link] = problem or problems[local[link]]
            else:
                yield link, local[link]


def _too_far(key: VersionKey, known: Manifest, local: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The links whose text would be longer than a filesystem takes, by path."""
    links = {path: entry.link for path, entry in known.items() if entry.link is not None}
    for path, target in local:
        end = links.get(target)
        links[path] = Link.to(key, target, None if end is None else bare(end.end))
    return {
        path: problem
        for path, link in links.items()
        if (problem := text_problem(key, path, link)) is not None
    }


def summarise(problems: Mapping[str, str]) -> str:
    """The first few of ``problems`` (sentences by path), and how many more there are."""
    first = [problems[path] for path in sorted(problems)[:MAX_PROBLEMS_SHOWN]]
    more = len(problems) - len(first)
    return "; ".join(first) + (f"; and {more} more" if more else "")


def complete(key: VersionKey, plan: Plan, copied: Manifest) -> Manifest:
    """The manifest of version ``key``: ``plan.known``, ``copied``, and the local links.

    ``copied`` has an entry for each of ``plan.copies`` and ``plan.kept``.
    """
    manifest = {**plan.known, **copied}
    for path, target in plan.local:
        entry = manifest[target]
        manifest[path] = Entry(entry.size, entry.md5sum, link_to(key, target, manifest))
    return {path: manifest[path] for path in sorted(manifest)}
