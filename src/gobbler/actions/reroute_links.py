"""``reroute_links``: before a deletion, links that lead into it are redirected."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from gobbler.actions.context import RequestContext, check_admin
from gobbler.actions.version_scan import links_file
from gobbler.errors import Code, Fault, Missing, Refused, quoted
from gobbler.fs.atomic_write import DIRECTORY_MODE
from gobbler.fs.fingerprint import Fingerprint
from gobbler.fs.flush import flush_tree, raising_not_durable
from gobbler.index.search import Choose, Fingerprints, LinkingVersions, Search
from gobbler.model.names import VersionKey, check_name
from gobbler.model.progress import CancelToken
from gobbler.model.records import Manifest, decode_manifest, encode
from gobbler.model.requests import DeletionTarget, RerouteLinks
from gobbler.registry.journal import Intent, Journal
from gobbler.registry.locks import changing_registry
from gobbler.registry.registry import Registry
from gobbler.registry.workspace import Workspace
from gobbler.rules.links import links_by_directory, symlink_text
from gobbler.rules.reroute import Change, Rerouting
from gobbler.transfer.duplicate import Duplicate, duplicate_all


class Manifests:
    """The manifests of a registry; each is read again only if it changed."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._read: dict[VersionKey, tuple[Fingerprint, Manifest]] = {}

    def __call__(self, key: VersionKey) -> Manifest:
        """The manifest of the version ``key``."""
        known = self._read.get(key)
        if known is None:
            fingerprint, data = self._registry.manifest_with_fingerprint(key)
            known = self._read[key] = fingerprint, decode_manifest(data, key.manifest)
        return known[1]

    def forget_changed(self) -> None:
        """Forget the manifests that have changed."""
        self._read = {
            key: known
            for key, known in self._read.items()
            if self._registry.fingerprint(key.manifest) == known[0]
        }


@dataclass(frozen=True)
class LinkImpact:
    """The changes of links that a deletion makes necessary, for one state of the registry."""

    linking: LinkingVersions
    changes: list[Change]

    def to_dict(self) -> list[dict[str, object]]:
        """The changes as they are in the answer, by path."""
        changes = [change.to_dict() for change in self.changes]
        return sorted(changes, key=lambda change: str(change["path"]))


def link_impact(
    search: Search, manifests: Manifests, choose: Choose, cancel: CancelToken
) -> LinkImpact:
    """The links with a parent or an ancestor in a version that ``choose`` returns.

    Raises :class:`~gobbler.errors.Fault` if a manifest is damaged.
    """
    linking = search.linking_into(choose, lambda *_: cancel.check())
    rerouting = Rerouting(linking.chosen, manifests)
    changes: list[Change] = []
    for key in linking.sources:
        cancel.check()
        changes += rerouting.changes(key)
    return LinkImpact(linking, changes)


def copy_files(context: RequestContext, workspace: Workspace, changes: list[Change]) -> None:
    """Copy the files of which no other copy survives into the workspace, and verify each."""
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
            f"{quoted(problem)} can't replace the links to it: its content is not what its "
            "manifest lists",
            code=Code.INVALID_VERSION,
            hint="Validate its version; if the file is right, reindex the version.",
        )


def _name(number: int) -> str:
    return f"file-{number}"


def stage_changes(
    registry: Registry,
    journal: Journal,
    changes: list[Change],
    manifest_of: Callable[[VersionKey], Manifest],
) -> dict[str, int]:
    """Prepare all changes; returns the bytes that they add, by project."""
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
    # Creating an inode is slow. Links of the same text, as along a chain of versions, can share
    # one, because a symbolic link never changes.
    if text in made:
        try:
            os.link(made[text], path, follow_symlinks=False)
        except OSError:
            del made[text]  # the filesystem allows no more names
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


REROUTE_ATTEMPTS = 5
"""How often a rerouting starts over because the registry changes meanwhile."""

_NOT_FOUND = {
    1: Code.PROJECT_NOT_FOUND,
    2: Code.ASSET_NOT_FOUND,
    3: Code.VERSION_NOT_FOUND,
}


def reroute_links(context: RequestContext, request: RerouteLinks) -> dict[str, object]:
    """Redirect the links into what will be deleted; the answer has ``changes``."""
    check_admin(context, "reroute links")
    for target in request.to_delete:
        _check_names(target)
    registry = context.service.registry
    search, manifests = context.service.search, Manifests(registry)
    for _ in range(REROUTE_ATTEMPTS):
        found = link_impact(
            search,
            manifests,
            lambda fingerprints: _deleted_versions(registry, request, fingerprints),
            context.cancel,
        )
        answer: dict[str, object] = {"changes": found.to_dict()}
        if request.dry_run or not found.changes or _apply(context, found, manifests, answer):
            return answer
        manifests.forget_changed()
    raise Fault(
        f"the registry changed {REROUTE_ATTEMPTS} times while links were rerouted",
        code=Code.CONTENTION,
        hint="Try again when fewer versions are published.",
    )


def _check_names(target: DeletionTarget) -> None:
    check_name("project", target.project)
    if target.asset is not None:
        check_name("asset", target.asset)
    if target.version is not None:
        if target.asset is None:
            raise Refused("`version` needs an `asset`, in an entry of `$.to_delete`")
        check_name("version", target.version)


def _deleted_versions(
    registry: Registry, request: RerouteLinks, fingerprints: Fingerprints
) -> set[VersionKey]:
    """The versions in ``fingerprints`` that will be deleted."""
    names = set()
    for entry in request.to_delete:
        parts = [name for name in (entry.project, entry.asset, entry.version) if name]
        if not registry.has(path := "/".join(parts)):
            raise Missing(
                f"{quoted(path)}, which should be deleted, does not exist",
                code=_NOT_FOUND[len(parts)],
            )
        names.add(tuple(parts))
    return {
        key
        for key in fingerprints
        if (key.project,) in names
        or (key.project, key.asset) in names
        or (key.project, key.asset, key.version) in names
    }


def _apply(
    context: RequestContext, found: LinkImpact, manifests: Manifests, answer: dict[str, object]
) -> bool:
    """Make the changes; ``False`` if the registry has changed since they were planned."""
    registry, changes = context.service.registry, found.changes
    with context.new_workspace() as workspace:
        os.mkdir(workspace.tree, DIRECTORY_MODE)
        copy_files(context, workspace, changes)
        journal = Journal(registry, workspace, marked=True)
        usage = stage_changes(registry, journal, changes, manifests)
        journal.prepare(Intent(moves=[], recount=sorted(usage)), answer)
        flush_tree(workspace.path, context.service.durability)
        with changing_registry(registry):
            if registry.fingerprints() != found.linking.fingerprints:
                return False
            for number, (project, added) in enumerate(sorted(usage.items())):
                journal.add_usage(f"usage-{number}", project, added)
            journal.commit()
        with raising_not_durable("the change of the links"):
            journal.flush(context.service.durability)
    return True
