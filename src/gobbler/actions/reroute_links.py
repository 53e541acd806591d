"""``reroute_links``: before a deletion, links that lead into it are redirected."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from gobbler.actions.context import RequestContext, check_admin
from gobbler.actions.link_changes import PreparedChanges
from gobbler.errors import Code, Fault, Missing, Refused, quoted
from gobbler.fs.atomic_write import DIRECTORY_MODE
from gobbler.fs.fingerprint import Fingerprint
from gobbler.fs.flush import raising_not_durable
from gobbler.index.search import Choose, Fingerprints, LinkingVersions, Search
from gobbler.model.names import VersionKey, check_name
from gobbler.model.progress import CancelToken
from gobbler.model.records import Manifest, decode_manifest
from gobbler.model.requests import DeletionTarget, RerouteLinks
from gobbler.registry.locks import changing_registry
from gobbler.registry.registry import Registry
from gobbler.rules.reroute import Change, Rerouting


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
    """The changes of links that a deletion makes necessary, for one state of the registry.

    ``problems``: the damaged manifests; by the files on disk, their versions have no such links.
    """

    linking: LinkingVersions
    changes: list[Change]
    problems: list[str]

    @property
    def changes_by_path(self) -> list[dict[str, object]]:
        """The changes as they are in the answer."""
        changes = [change.to_dict() for change in self.changes]
        return sorted(changes, key=lambda change: str(change["path"]))

    @property
    def answer(self) -> dict[str, object]:
        """The fields of the answer."""
        problems = {"problems": self.problems} if self.problems else {}
        return {"changes": self.changes_by_path, **problems}


def link_impact(
    search: Search, manifests: Manifests, choose: Choose, cancel: CancelToken
) -> LinkImpact:
    """The links with a parent or an ancestor in a version that ``choose`` returns.

    Raises :class:`~gobbler.errors.Fault` if the manifest of a version with such links is damaged.
    """
    manifests.forget_changed()
    linking = search.linking_into(choose, lambda *_: cancel.check())
    rerouting = Rerouting(linking.chosen, manifests)
    changes: list[Change] = []
    for key in linking.sources:
        cancel.check()
        _check_encodable(key)
        changes += rerouting.changes(key)
    return LinkImpact(linking, changes, sorted(search.problems.values()))


def _check_encodable(key: VersionKey) -> None:
    """Refuse to change a version whose name can be written neither into a record nor an answer."""
    try:
        key.path.encode()
    except UnicodeEncodeError:
        raise Fault(
            f"{quoted(key.path)} has links into what will be deleted, but its name is not UTF-8",
            code=Code.DAMAGED_LINKS,
            hint="An administrator renames the directory.",
        ) from None


REROUTE_ROUNDS = 10
"""How often files are copied before the lock is taken, as others publish links to more of them."""

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

    def plan() -> LinkImpact:
        return link_impact(
            search,
            manifests,
            lambda fingerprints: _deleted_versions(registry, request, fingerprints),
            context.cancel,
        )

    try:
        found = plan()
    except (Missing, Fault):
        # Perhaps it met a change of another request half-way.
        with changing_registry(registry):
            found = plan()
    if found.changes and not request.dry_run:
        found = _apply(context, plan, found, manifests)
    return found.answer


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
    context: RequestContext, plan: Callable[[], LinkImpact], found: LinkImpact, manifests: Manifests
) -> LinkImpact:
    """Make the changes of the plan ``found``, or of a later one; returns that.

    What takes long is done before the lock. What has changed since is planned again under it.
    """
    registry = context.service.registry
    with context.new_workspace() as workspace:
        os.mkdir(workspace.tree, DIRECTORY_MODE)
        prepared = PreparedChanges(context, workspace)
        for _ in range(REROUTE_ROUNDS):
            prepared.copy_files(found.changes)
            usage = prepared.stage(found.changes, manifests, found.answer)
            prepared.flush()
            with changing_registry(registry):
                if registry.fingerprints() != found.linking.fingerprints:
                    found = plan()
                    if not found.changes:
                        return found
                    if not prepared.is_quick(found.changes):
                        continue  # others need not wait for copies
                    prepared.copy_files(found.changes, here=True)
                    usage = prepared.stage(found.changes, manifests, found.answer)
                    prepared.flush()
                journal = prepared.commit(usage)
            with raising_not_durable("the change of the links"):
                journal.flush(context.service.durability)
            return found
    raise Fault(
        f"{REROUTE_ROUNDS} times, while files were copied that will be deleted, others published "
        "more links to them",
        code=Code.CONTENTION,
        hint="Try again when fewer versions are published.",
    )
