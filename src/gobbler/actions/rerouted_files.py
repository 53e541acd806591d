"""The files of a rerouting: copies, symbolic links, manifests and ``..links``, in a job."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable

from gobbler.actions.context import RequestContext
from gobbler.actions.version_scan import links_file
from gobbler.errors import Code, Fault, quoted
from gobbler.model.names import VersionKey
from gobbler.model.records import Manifest, encode
from gobbler.registry.journal import Journal
from gobbler.registry.registry import Registry
from gobbler.registry.workspace import Workspace
from gobbler.rules.links import links_by_directory, symlink_text
from gobbler.rules.reroute import Change
from gobbler.transfer.duplicate import Duplicate, duplicate_all


def copy_files(context: RequestContext, workspace: Workspace, changes: list[Change]) -> None:
    """Copy the files of which no other copy survives into the job, verifying each."""
    registry = context.service.registry
    copies = {
        _name(number): Duplicate(
            registry.path(change.former.end.key.file(change.former.end.path)),
            change.entry.size,
            change.entry.md5sum,
        )
        for number, change in enumerate(changes)
        if change.is_copy
    }
    dispatcher = context.dispatcher(workspace)
    for problem in duplicate_all(dispatcher, copies, context.service.whitelist):
        raise Fault(
            f"{quoted(problem)} can't be copied to where it is linked from: its content is "
            "not what its manifest lists",
            code=Code.INVALID_VERSION,
            hint="Validate the version that holds it; reindex it if the file is right.",
        )


def _name(number: int) -> str:
    return f"file-{number}"


def stage_changes(
    registry: Registry,
    journal: Journal,
    changes: list[Change],
    manifest_of: Callable[[VersionKey], Manifest],
) -> dict[str, int]:
    """Prepare all that changes; the bytes that are added, by project."""
    usage: dict[str, int] = defaultdict(int)
    made: dict[str, str] = {}
    by_version: dict[VersionKey, list[Change]] = defaultdict(list)
    for number, change in enumerate(changes):
        if change.entry.link is not None:
            text = symlink_text(change.key, change.path, change.entry.link)
            _make_symlink(text, journal.inside(_name(number)), made)
        else:
            usage[change.key.project] += change.entry.size
        journal.replace_link(_name(number), change.key.file(change.path))
        by_version[change.key].append(change)
    for number, (key, of_version) in enumerate(by_version.items()):
        _stage_records(registry, journal, key, of_version, manifest_of(key), number)
    return usage


def _make_symlink(text: str, path: str, made: dict[str, str]) -> None:
    # Making an inode is what costs; links of one text, as along a chain of versions, can
    # share one, for a symbolic link never changes.
    if text in made:
        try:
            os.link(made[text], path, follow_symlinks=False)
        except OSError:
            del made[text]  # it has as many names as the filesystem allows
        else:
            return
    os.symlink(text, path)
    made[text] = path


def _stage_records(
    registry: Registry,
    journal: Journal,
    key: VersionKey,
    changes: list[Change],
    manifest: Manifest,
    number: int,
) -> None:
    new = {**manifest, **{change.path: change.entry for change in changes}}
    links = links_by_directory(new)
    directories = sorted({change.path.rpartition("/")[0] for change in changes})
    for index, directory in enumerate(directories):
        target = key.file(links_file(directory))
        if directory in links:
            journal.write(f"links-{number}-{index}", encode(links[directory]), target)
        elif registry.has(target):
            journal.remove(target, f"former-links-{number}-{index}")
    journal.write(f"manifest-{number}", encode(new), key.manifest)
