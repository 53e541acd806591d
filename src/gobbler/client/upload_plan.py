"""What an upload would do, found out before anything is copied or asked.

The service decides by the same rules; what it alone knows (which directories are
whitelisted, where besides the latest version it looks for the same files, and whatever changes
meanwhile) it decides when the upload comes.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable

from msgspec import Struct

from gobbler.errors import Missing, Refused, quoted
from gobbler.fs.hash import hash_file
from gobbler.model.names import VersionKey, file_name_problem, is_internal
from gobbler.model.progress import NoProgress
from gobbler.model.records import Manifest
from gobbler.rules.dedup import VersionCandidates
from gobbler.rules.links import OUTSIDE, Places, Target, absolute_target, locate
from gobbler.rules.upload_plan import Plan, PublishedVersion, Scan, linked_versions, make_plan

Lookup = Callable[[VersionKey], PublishedVersion | None]


class UploadPlan(Struct, frozen=True):
    """What would become of each file of a directory, by its path in the new version.

    ``stored``: sizes in bytes of what would be stored. ``linked``: the file of the registry
    (or of the new version) that would be linked to. ``undecided``: symbolic links, with
    their targets, that would be refused unless the service has whitelisted what they lead
    to. ``empty``: empty directories.
    """

    stored: dict[str, int]
    linked: dict[str, str]
    undecided: dict[str, str]
    empty: list[str]

    @property
    def bytes(self) -> int:
        """What would be stored, in all."""
        return sum(self.stored.values())


def plan_upload(
    directory: str,
    key: VersionKey,
    registry: str,
    latest: tuple[VersionKey, Manifest] | None,
    lookup: Lookup,
    *,
    ignore_dot: bool,
) -> UploadPlan:
    """Plan the upload of ``directory`` as version ``key``.

    ``registry`` is where links into it lead; ``latest``: the asset's latest version.
    Raises :class:`~gobbler.errors.Refused` for what the service would refuse.
    """
    scan = scan_directory(directory, ignore_dot=ignore_dot)
    targets = _targets(directory, registry, scan)
    undecided = {path: scan.symlinks[path] for path, to in targets.items() if to is OUTSIDE}
    decided = {path: to for path, to in targets.items() if to is not OUTSIDE}
    versions = {linked: lookup(linked) for linked in linked_versions(decided)}
    plan = make_plan(key, scan, decided, versions)
    twins = None if latest is None else VersionCandidates.of(*latest)
    return _told(directory, plan, key, twins, undecided)


def _told(
    directory: str,
    plan: Plan,
    key: VersionKey,
    twins: VersionCandidates | None,
    undecided: dict[str, str],
) -> UploadPlan:
    stored: dict[str, int] = {}
    linked = {
        path: f"{entry.link.key.path}/{entry.link.path}"
        for path, entry in plan.known.items()
        if entry.link is not None
    }
    for path, size in plan.copies.items():
        nominees = {} if twins is None else twins.of_size(size)
        twin = nominees.get(_md5(f"{directory}/{path}")) if nominees else None
        if twin is None or twins is None:
            stored[path] = size
        else:
            linked[path] = f"{twins.key.path}/{twin}"
    for path, target in plan.local:
        linked[path] = f"{key.path}/{target}"
    empty = [path for path, entry in plan.known.items() if entry.is_directory]
    return UploadPlan(
        dict(sorted(stored.items())), dict(sorted(linked.items())), undecided, sorted(empty)
    )


def _targets(directory: str, registry: str, scan: Scan) -> dict[str, Target]:
    places = Places(
        source=(directory, os.path.realpath(directory)),
        registry=(registry, os.path.realpath(registry)),
        whitelist=(),
    )
    return {
        path: locate(absolute_target(f"{directory}/{os.path.dirname(path)}", text), places)
        for path, text in scan.symlinks.items()
    }


def scan_directory(directory: str, *, ignore_dot: bool) -> Scan:
    """What would be taken from ``directory``, which is absolute."""
    files: dict[str, int] = {}
    symlinks: dict[str, str] = {}
    directories: list[str] = []
    empty: list[str] = []
    odd: dict[str, str] = {}
    pending = [""]
    while pending:
        inner = pending.pop()
        taken = 0
        for entry in _entries(f"{directory}/{inner}", ignore_dot):
            path = f"{inner}/{entry.name}" if inner else entry.name
            taken += 1
            status = entry.stat(follow_symlinks=False)
            if (problem := file_name_problem(entry.name)) is not None:
                odd[path] = problem
            elif stat.S_ISLNK(status.st_mode):
                symlinks[path] = os.readlink(entry.path)
            elif stat.S_ISDIR(status.st_mode):
                directories.append(path)
                pending.append(path)
            elif stat.S_ISREG(status.st_mode):
                files[path] = status.st_size
            else:
                odd[path] = "is neither a file, nor a directory, nor a symbolic link"
        if inner and not taken:
            empty.append(inner)
    return Scan(files, symlinks, directories, empty, odd)


def _entries(path: str, ignore_dot: bool) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(path) as entries:
            return sorted(
                (
                    entry
                    for entry in entries
                    if not is_internal(entry.name)
                    and not (ignore_dot and entry.name.startswith("."))
                ),
                key=lambda entry: entry.name,
            )
    except FileNotFoundError:
        raise Missing(f"the directory {quoted(path)} is not there") from None
    except NotADirectoryError:
        raise Refused(f"{quoted(path)} is not a directory") from None


def _md5(path: str) -> str:
    with open(path, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        return hash_file(file.fileno(), NoProgress(), size)[1]
