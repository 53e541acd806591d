"""What is wrong after a disturbance: a finding is a column of the table, and words."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from typing import NamedTuple

from .operations import Operation
from .serving import Service
from .world import State, World

COLUMNS = {
    "broken": "a version or record is broken or half done, or the answer lies",
    "retry": "the same request, sent again, is refused",
    "usage": "usage wrong",
    "latest": "latest wrong",
    "log": "log wrong",
    "lost": "files lost",
    "stray": "files left behind",
    "reason": "the reason does not tell the operation and the path",
}
"""The columns of the table, and what they count."""


class Finding(NamedTuple):
    """One thing that is wrong."""

    column: str
    told: str


class Expected(NamedTuple):
    """The registry and the sources before and after the undisturbed operation.

    ``content`` is what the versions hold afterwards, links followed.
    """

    before: State
    after: State
    sources: State
    left: State
    content: dict[str, bytes]


def state_findings(state: State, expected: State) -> Iterator[Finding]:
    """How ``state`` differs from what is ``expected``."""
    for path in sorted({*state, *expected}):
        if state.get(path) != expected.get(path):
            words = "is missing" if path not in state else "is another"
            words = words if path in expected else "should not be there"
            yield Finding(_column(path, missing=path not in state), f"{path} {words}")


def _column(path: str, *, missing: bool) -> str:
    name = os.path.basename(path)
    if path.startswith("..logs"):
        return "log"
    if name in ("..usage", "..latest"):
        return name.removeprefix("..")
    return "lost" if missing and not name.startswith("..") else "broken"


def source_findings(
    world: World, operation: Operation, expected: Expected, *, done: bool
) -> Iterator[Finding]:
    """The source is whole; only a ``done`` consume may have taken files of it."""
    sources = world.sources()
    for path, facts in expected.sources.items():
        if path in sources and sources[path] != facts:
            yield Finding("lost", f"{path} of the source is another")
        if path not in sources and not (operation.consumes and done):
            yield Finding("lost", f"{path} of the source is missing")
    for path in set(sources) - set(expected.sources):
        yield Finding("stray", f"{path} in staging")


def service_findings(service: Service) -> Iterator[Finding]:
    """What the service itself finds wrong in its registry."""
    world = service.world
    for project in world.projects():
        recorded = world.recorded(f"{project}/..usage")
        answer = service.ask("refresh_usage", {"project": project})
        if answer is None or recorded is None or answer.fields.get("total") != recorded["total"]:
            yield Finding("usage", f"usage of {project} was {recorded}, is {answer}")
        for asset in world.assets(project):
            of_asset = {"project": project, "asset": asset}
            recorded = world.recorded(f"{project}/{asset}/..latest") or {"version": None}
            answer = service.ask("refresh_latest", of_asset)
            if answer is None or answer.fields.get("version") != recorded["version"]:
                yield Finding("latest", f"latest of {project}/{asset} was {recorded}, is {answer}")
            for version in world.versions(project, asset):
                answer = service.ask("validate_version", {**of_asset, "version": version})
                if answer is None or answer.reason:
                    yield Finding("broken", f"{project}/{asset}/{version} is not valid: {answer}")
    yield from content_findings(world)


def content_findings(world: World) -> Iterator[Finding]:
    """The readable files differ from the manifests, or the log is wrong."""
    logged = [
        (entry["project"], entry["asset"], entry["version"])
        for name in os.listdir(world.registry / "..logs")
        if (entry := world.recorded(f"..logs/{name}"))["type"] == "add-version"
    ]
    for project in world.projects():
        for asset in world.assets(project):
            for version in world.versions(project, asset):
                address = f"{project}/{asset}/{version}"
                yield from _version_findings(world, address)
                final = not (world.recorded(f"{address}/..summary") or {}).get("on_probation")
                if (times := logged.count((project, asset, version))) != final:
                    yield Finding("log", f"{address} is logged {times} times")


def _version_findings(world: World, address: str) -> Iterator[Finding]:
    manifest = world.recorded(f"{address}/..manifest")
    if manifest is None or world.recorded(f"{address}/..summary") is None:
        yield Finding("broken", f"{address} has no manifest, or no summary")
        return
    for path, entry in manifest.items():
        place = world.registry / address / path
        if place.is_dir():
            continue
        try:
            data = place.read_bytes()
        except OSError as error:
            yield Finding("lost", f"{address}/{path} can't be read: {error.strerror}")
            continue
        if (len(data), hashlib.md5(data).hexdigest()) != (entry["size"], entry["md5sum"]):
            yield Finding("broken", f"{address}/{path} is not what the manifest tells")


def stray_findings(world: World) -> Iterator[Finding]:
    """Files that are left behind."""
    yield from (Finding("stray", path) for path in world.strays())
