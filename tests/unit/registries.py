"""Small registries on disk, written directly: what their manifests say, and nothing else."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from gobbler.actions import carry_out
from gobbler.actions.context import Requester, ServiceContext
from gobbler.errors import GobblerError
from gobbler.fs.flush import Durability
from gobbler.index import Index
from gobbler.model.names import VersionKey
from gobbler.model.progress import NeverCancelled, NoProgress
from gobbler.model.records import Entry, Link, Manifest, encode
from gobbler.registry.registry import Registry
from gobbler.rules.links import link_to

KEYS = [
    VersionKey(project, asset, version)
    for project, asset, version in ("pa1", "pa2", "pa3", "pb1", "qa1", "qa2", "qb1")
]
PATHS = ["f", "d/g", "d/h"]
CONTENTS = [b"", b"x", b"yy", b"zz"]

Registries = dict[VersionKey, Manifest]


def stored(content: bytes) -> Entry:
    return Entry(len(content), hashlib.md5(content).hexdigest())


@st.composite
def registries(draw: st.DrawFn) -> Registries:
    """Versions with links along chains and across projects; some links lead nowhere."""
    made: Registries = {}
    for key in draw(st.permutations(KEYS))[: draw(st.integers(1, len(KEYS)))]:
        manifest: Manifest = {}
        for path in draw(st.sets(st.sampled_from(PATHS), min_size=1)):
            kind = draw(st.sampled_from(["stored", "linked", "linked", "wild"]))
            parents = [(k, p) for k, m in made.items() for p in m]
            if kind == "linked" and parents:
                parent, name = draw(st.sampled_from(parents))
                entry = made[parent][name]
                link = link_to(parent, name, made[parent])
                manifest[path] = Entry(entry.size, entry.md5sum, link)
            elif kind == "wild" and draw(st.integers(0, 3)) == 0:
                manifest[path] = replace_link(stored(b"w"), draw(wild_links))
            else:
                manifest[path] = stored(draw(st.sampled_from(CONTENTS)))
        made[key] = manifest
    return made


def replace_link(entry: Entry, link: Link) -> Entry:
    return Entry(entry.size, entry.md5sum, link)


_plain = st.builds(Link.to, st.sampled_from(KEYS), st.sampled_from([*PATHS, "../x"]))
wild_links = st.builds(
    lambda link, ancestor: Link.to(link.key, link.path, ancestor), _plain, st.none() | _plain
)

names = st.sampled_from(
    [
        *({"project": p} for p in "pqz"),
        *({"project": p, "asset": a} for p in "pq" for a in "ab"),
        *({"project": k.project, "asset": k.asset, "version": k.version} for k in KEYS),
    ]
)
doomed = st.lists(names, min_size=1, max_size=3)


def write(root: Path, key: VersionKey, manifest: Manifest | bytes) -> None:
    """Put a version there as a service does: its manifest is another file then."""
    directory = root / key.path
    directory.mkdir(parents=True, exist_ok=True)
    data = manifest if isinstance(manifest, bytes) else encode(manifest)
    new = directory / "..new"
    new.write_bytes(data)
    new.rename(directory / "..manifest")


def site_of(root: Path, index: Path | None = None) -> ServiceContext:
    registry = Registry(str(root))
    service = ServiceContext(
        staging=str(root),
        registry=registry,
        admins=frozenset(["admin"]),
        whitelist=(),
        spoofing={},
        durability=Durability.RELAXED,
        executor=Executor(),
        width=1,
    )
    return service if index is None else replace(service, index=Index(str(index), registry))


def rerouted(service: ServiceContext, to_delete: list[dict[str, str]]) -> Any:
    """What a dry run of ``reroute_links`` answers, or the error."""
    data = json.dumps({"to_delete": to_delete, "dry_run": True}).encode()
    requester = Requester(0, "admin")
    try:
        return carry_out(
            service,
            "request-reroute_links-1",
            data,
            requester,
            progress=NoProgress(),
            cancel=NeverCancelled(),
        )
    except GobblerError as error:
        return type(error), error.reason
