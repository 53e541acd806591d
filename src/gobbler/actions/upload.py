"""``upload``: a directory of staging becomes an immutable version.

An upload passes each step once: the names and the source are identified, the upload is
authorised, the source is scanned and planned, its files are ingested into a workspace, the
finished tree is published, and a consumed source gives up its files.
"""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from gobbler.actions.context import RequestContext
from gobbler.actions.version_scan import published_versions
from gobbler.errors import Code, Fault, Forbidden, GobblerError, Missing, Refused, quoted
from gobbler.fs.clock import now
from gobbler.fs.fingerprint import Fingerprint
from gobbler.fs.open import let_others_read
from gobbler.fs.space import capacity
from gobbler.index.search import dedup_candidates
from gobbler.model.names import VersionKey
from gobbler.model.progress import Phase, tell_phase
from gobbler.model.records import Entry, Manifest, Permissions, Summary, format_time
from gobbler.model.requests import Upload
from gobbler.registry.publish import Publication, publish
from gobbler.registry.registry import Registry
from gobbler.registry.remembered_manifests import RememberedManifests
from gobbler.rules.links import Places, usage_of
from gobbler.rules.permissions import UploadRight, upload_right
from gobbler.rules.upload_plan import (
    Plan,
    check_scan,
    complete,
    linked_versions,
    locate_links,
    make_plan,
)
from gobbler.transfer.consumption import consume
from gobbler.transfer.ingest import check_tree, ingest_files, write_version
from gobbler.transfer.scan import longest_published, real_path, scan
from gobbler.transfer.staged_source import StagedSource

T = TypeVar("T")

logger = logging.getLogger(__name__)

UPLOAD_ATTEMPTS = 5
"""How often an upload starts over because its assumptions no longer hold at the end."""


class Outdated(Exception):
    """An assumption of the upload no longer holds, so it must start over.

    ``versions``: those to which links lead that are gone, or whose records are damaged; ``error``
    names such a record. The upload does not deduplicate against them again: deduplication is
    optional.
    """

    def __init__(
        self, versions: Collection[VersionKey] = (), error: GobblerError | None = None
    ) -> None:
        super().__init__(error)
        self.versions = versions
        self.error = error


def upload(context: RequestContext, request: Upload) -> dict[str, object]:
    """Publish the source as a new version; the answer may have ``warnings``."""
    tell_phase(context.progress, Phase.IDENTIFY)
    key = VersionKey.checked(request.project, request.asset, request.version)
    requester = context.requester
    source = StagedSource.identify(
        context.service.staging,
        request.source,
        uid=requester.uid,
        user=requester.name,
        authorship=context.service.authorship,
    )
    registry = RememberedManifests(context.service.registry.root)
    context = replace(context, service=replace(context.service, registry=registry))
    avoided: set[VersionKey] = set()
    for _ in range(UPLOAD_ATTEMPTS):
        try:
            warnings = _attempt(context, request, key, source, avoided)
        except Outdated as found:
            if found.error is not None:
                if avoided.issuperset(found.versions):
                    raise found.error from None  # the source itself links to them
                logger.warning("not deduplicating against a damaged version: %s", found.error)
            avoided.update(found.versions)
            continue
        return {"warnings": warnings} if warnings else {}
    raise Fault(
        f"the registry changed {UPLOAD_ATTEMPTS} times during the upload to {quoted(key.path)}",
        code=Code.CONTENTION,
        hint="Try again when the asset changes less often.",
    )


def _attempt(
    context: RequestContext,
    request: Upload,
    key: VersionKey,
    source: StagedSource,
    avoided: Collection[VersionKey],
) -> list[str]:
    """Publish the source, unless it is :class:`Outdated`; returns what to warn of."""
    service, registry = context.service, context.service.registry
    right = authorise(context, key)
    plan = _plan(context, key, source, ignore_dot=bool(request.ignore_dot))
    candidates = dedup_candidates(
        service.search,
        registry,
        key.of_asset,
        service.dedup,
        context.cancel,
        without=avoided,
    )
    # Only what belongs to the service's own account, both file and directory, may keep
    # its inode: nobody else can then have it open for writing, or keep it from going.
    adopt = bool(request.consume) and source.owner == os.geteuid()
    with context.new_workspace(resume=True) as workspace:
        tell_phase(context.progress, Phase.INGEST)
        dispatcher = context.dispatcher(workspace)
        ingested = ingest_files(
            dispatcher,
            source,
            plan,
            candidates,
            consume=bool(request.consume),
            adopt=adopt,
        )
        tell_phase(context.progress, Phase.RECORDS)
        manifest = complete(key, plan, ingested.entries)
        assumptions = Assumptions.of(context, key, right, manifest)
        summary = Summary(
            upload_user_id=context.user,
            upload_start=format_time(context.started),
            upload_finish=format_time(now()),
            on_probation=bool(request.on_probation) or not right.trusted,
        )
        publication = Publication(
            key=key,
            summary=summary,
            usage=usage_of(manifest),
            owner=Permissions(owners=(context.user,)) if right.makes_owner else None,
            staging=source.staging,
            source=source.name,
            adopted=adopt,
            check=assumptions.check,
            progress=context.progress,
        )
        write_version(dispatcher, key, plan, manifest, summary)
        if workspace.is_resumable:
            check_tree(workspace, manifest)
        context.cancel.check()
        publish(registry, service.durability, workspace, publication)
        if request.consume:
            tell_phase(context.progress, Phase.CONSUME)
            own = [path for path in ingested.fingerprints if manifest[path].link is None]
            consume(
                dispatcher,
                registry.path(key.path),
                source,
                ingested.fingerprints,
                own if adopt else (),
            )
    return plan.warnings


def authorise(context: RequestContext, key: VersionKey) -> UploadRight:
    """How the user may upload ``key``, which must not exist yet.

    Raises :class:`~gobbler.errors.Missing`, :class:`~gobbler.errors.Forbidden` or
    :class:`~gobbler.errors.Refused`.
    """
    registry = context.service.registry
    project = registry.permissions(key.project)
    asset = registry.asset_permissions(key.of_asset)
    right = upload_right(
        context.user,
        key,
        admins=context.service.admins,
        project=project,
        asset=asset,
        asset_exists=registry.has(key.of_asset.path),
        now=now(),
    )
    if right is None:
        raise Forbidden(
            f"user {quoted(context.user)} is not allowed to upload to {quoted(key.path)}",
            hint="Ask an owner of the project to add you to its uploaders.",
        )
    if registry.has(key.path):
        raise Refused(
            f"version {quoted(key.version)} of {quoted(key.of_asset.path)} already exists",
            code=Code.VERSION_EXISTS,
        )
    return right


def _plan(
    context: RequestContext, key: VersionKey, source: StagedSource, *, ignore_dot: bool
) -> Plan:
    """Scan the source, and decide what becomes of each entry."""
    registry = context.service.registry
    tell_phase(context.progress, Phase.SCAN)
    with source.opened() as directory:
        found = scan(
            directory,
            ignore_dot=ignore_dot,
            owner=source.owner,
            cancel=context.cancel,
            longest=longest_published(registry.root, key.path),
            width=context.service.width,
        )
    tell_phase(context.progress, Phase.PLAN)
    check_scan(found, unreadable=let_others_read(source.path), capacity=capacity(registry.root))
    real = f"{os.path.realpath(source.staging)}/{source.name}"
    root = registry.root
    places = Places(
        source=(real, f"{source.staging}/{source.name}"),
        registry=(root, os.path.realpath(root)),
        whitelist=context.service.whitelist,
    )
    targets = locate_links(found, real, places, real_path)
    versions = published_versions(registry, linked_versions(targets), into=key)
    return make_plan(key, found, targets, versions)


@dataclass(frozen=True)
class Assumptions:
    """The assumptions of an upload; made by :meth:`of` once its manifest is known.

    ``linked``: the fingerprint of the manifest of each linked version.
    """

    context: RequestContext
    key: VersionKey
    right: UploadRight
    linked: dict[VersionKey, Fingerprint]

    @classmethod
    def of(
        cls, context: RequestContext, key: VersionKey, right: UploadRight, manifest: Manifest
    ) -> Assumptions:
        """Check that every link of ``manifest`` leads to the file that it describes.

        Do this once, before you take the locks; under the locks, :meth:`check` compares
        fingerprints. Raises :class:`Outdated`.
        """
        registry = context.service.registry
        linked: dict[VersionKey, Fingerprint] = {}

        def holds(version: VersionKey, files: dict[str, Entry]) -> bool:
            linked[version] = registry.fingerprint(version.manifest)
            return _holds(registry, version, files)

        _check_all(holds, _linked_files(key, manifest))
        return cls(context, key, right, linked)

    def check(self) -> None:
        """Check all of it again, under the locks.

        Raises what :func:`authorise` raises, or :class:`Outdated`.
        """
        if authorise(self.context, self.key) != self.right:
            raise Outdated
        registry = self.context.service.registry

        def holds(version: VersionKey, fingerprint: Fingerprint) -> bool:
            is_same = registry.fingerprint(version.manifest) == fingerprint
            return is_same and _is_final(registry, version)

        _check_all(holds, self.linked)


def _check_all(holds: Callable[[VersionKey, T], bool], versions: Mapping[VersionKey, T]) -> None:
    """Raise :class:`Outdated` with all ``versions`` that do not hold."""
    failed: list[VersionKey] = []
    first: GobblerError | None = None
    for version, expected in versions.items():
        try:
            if holds(version, expected):
                continue
        except Fault as error:
            first = first or error
        failed.append(version)
    if failed:
        raise Outdated(failed, first)


def _linked_files(key: VersionKey, manifest: Manifest) -> dict[VersionKey, dict[str, Entry]]:
    """The files of other versions that ``manifest`` links to, each with the expected entry."""
    found: dict[tuple[str, str, str], dict[str, Entry]] = defaultdict(dict)
    for entry in manifest.values():
        link = entry.link
        while link is not None:
            found[link.project, link.asset, link.version][link.path] = entry
            link = link.ancestor
    found.pop((key.project, key.asset, key.version), None)
    return {VersionKey(*place): files for place, files in found.items()}


def _holds(registry: Registry, version: VersionKey, files: dict[str, Entry]) -> bool:
    try:
        present = registry.manifest(version)
    except Missing:
        return False
    return all(
        (found := present.get(path)) is not None
        and (found.size, found.md5sum) == (entry.size, entry.md5sum)
        for path, entry in files.items()
    )


def _is_final(registry: Registry, version: VersionKey) -> bool:
    try:
        return not registry.summary(version).on_probation
    except Missing:
        return False
