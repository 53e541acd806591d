"""A small installation to act upon, what stands in it, and what must always hold."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

from gobbler.actions import carry_out
from gobbler.actions.context import Requester, ServiceContext
from gobbler.fs.flush import Durability
from gobbler.model.progress import NeverCancelled, NoProgress
from gobbler.registry.discarded import discarded_trees, remove_discarded
from gobbler.registry.recovery import recover, recover_workspace
from gobbler.registry.registry import Registry

INTERNAL = {"..manifest", "..summary", "..links"}
KEPT_BY_ASSETS = {"..latest", "..permissions"}
KEPT_BY_PROJECTS = {"..usage", "..quota", "..permissions"}

ADMIN, OWNER, NEWCOMER, STRANGER = "admin", "owner", "newcomer", "stranger"


class Observer(NoProgress, NeverCancelled):
    """Follows a request, and may cancel it."""


UNOBSERVED = Observer()

Snapshot = dict[str, tuple[object, ...]]


class AtOnce(Executor):
    """Runs each call when it is submitted, so that effects come in the same order always."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - the caller gets it with the result
            future.set_exception(error)
        return future


class World:
    """Staging, registry and a whitelisted directory side by side below ``base``."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.staging, self.registry = base / "staging", base / "registry"
        self.archive = base / "archive"
        self.service = ServiceContext(
            staging=str(self.staging),
            registry=Registry(str(self.registry)),
            admins=frozenset([ADMIN]),
            whitelist=(str(self.archive),),
            spoofing={},
            durability=Durability.FULL,
            executor=AtOnce(),
            width=1,
        )

    def make(self) -> None:
        for path in (self.staging, self.registry / "..logs", self.registry / "..incoming"):
            path.mkdir(parents=True)
        self.archive.mkdir()
        (self.archive / "old.csv").write_bytes(b"from the archive")

    def copy_to(self, base: Path) -> World:
        """The same world below another directory."""
        _copy(str(self.base), str(base), {})
        return World(base)

    def remove(self) -> None:
        """Give the space back."""
        shutil.rmtree(self.base)

    def act(
        self,
        action: str,
        request: dict[str, Any],
        user: str,
        uid: int | None = None,
        observer: Observer = UNOBSERVED,
        workspace: str = "",
    ) -> dict[str, object]:
        """Carry out one request, and in a resumable workspace only once, as a job does."""
        if workspace:
            registry, durability = self.service.registry, self.service.durability
            answer = recover_workspace(registry, durability, workspace)
            if answer is not None:
                return answer
        requester = Requester(os.geteuid() if uid is None else uid, user)
        data = json.dumps(request).encode()
        return carry_out(
            self.service,
            f"request-{action}-1",
            data,
            requester,
            progress=observer,
            cancel=observer,
            workspace_name=workspace,
        )

    def recover(self) -> tuple[int, int]:
        found = recover(self.service.registry, self.service.durability)
        remove_discarded(str(self.registry))
        return found

    def incoming(self) -> list[str]:
        """What is left there once the discarded trees are removed."""
        remove_discarded(str(self.registry))
        assert discarded_trees(str(self.registry)) == []
        return sorted(os.listdir(self.registry / "..incoming"))

    def published(self) -> Snapshot:
        """All that readers of the registry see; locks and work in progress are not theirs."""
        return {
            path: facts
            for path, facts in snapshot(self.registry).items()
            if not _is_private(os.path.basename(path)) and not path.startswith("..incoming")
        }

    def sources(self) -> Snapshot:
        return snapshot(self.staging)

    def content(self, version: str) -> dict[str, bytes]:
        """The content of a version's files by path, links followed."""
        top = self.registry / version
        return {
            str(path.relative_to(top)): path.read_bytes()
            for path in top.rglob("*")
            if path.is_file() and not path.name.startswith("..")
        }


def _is_private(name: str) -> bool:
    """Whether it is a lock, or what a kill in the midst of replacing a record has left."""
    return name.startswith(("..LOCK", "..tmp-"))


def _copy(old: str, new: str, known: dict[tuple[int, int], str]) -> None:
    """Copy a tree with modes, owners, times and hard links; ``known``: copies by inode."""
    status = os.lstat(old)
    if stat.S_ISLNK(status.st_mode):
        os.symlink(os.readlink(old), new)
    elif stat.S_ISDIR(status.st_mode):
        os.mkdir(new)
        for name in os.listdir(old):
            _copy(f"{old}/{name}", f"{new}/{name}", known)
    elif (first := known.get((status.st_dev, status.st_ino))) is not None:
        os.link(first, new)
        return
    else:
        with open(old, "rb", 0) as source, open(new, "wb", 0) as copy:
            copy.write(source.read())
        if status.st_nlink > 1:
            known[status.st_dev, status.st_ino] = new
    if not stat.S_ISLNK(status.st_mode):
        os.chmod(new, stat.S_IMODE(status.st_mode))
    if status.st_uid != os.geteuid():
        os.chown(new, status.st_uid, -1, follow_symlinks=False)
    times = (status.st_atime_ns, status.st_mtime_ns)
    os.utime(new, ns=times, follow_symlinks=False)


def snapshot(top: Path) -> Snapshot:
    """Kind, mode, owner and content of all that stands below ``top``, by path."""
    found: Snapshot = {}
    for directory, names, files in os.walk(top):
        for name in (*names, *files):
            path = os.path.join(directory, name)
            found[os.path.relpath(path, top)] = _facts(path)
    return found


def _facts(path: str) -> tuple[object, ...]:
    status = os.lstat(path)
    if stat.S_ISLNK(status.st_mode):
        return ("link", os.readlink(path))
    kind = (oct(status.st_mode), status.st_uid)
    return (*kind, Path(path).read_bytes()) if stat.S_ISREG(status.st_mode) else kind


def violations(world: World) -> list[str]:
    """What is wrong in the registry: empty when versions, usage, latest and log agree."""
    return list(_violations(world))


def _violations(world: World) -> Iterator[str]:
    versions: list[tuple[str, ...]] = []
    for project in _directories(world.registry):
        yield from _strangers(project, KEPT_BY_PROJECTS)
        total = 0
        for asset in _directories(project):
            yield from _strangers(asset, KEPT_BY_ASSETS)
            for version in _directories(asset):
                yield from _version(world, version)
                total += usage(version)
                if not _json(version / "..summary").get("on_probation"):
                    versions.append(version.relative_to(world.registry).parts)
            yield from _latest(asset)
        if _json(project / "..usage") != {"total": total}:
            yield f"{project.name}: usage is {_json(project / '..usage')}, must be {total}"
    logged = _logged(world)
    if logged != sorted(versions):
        yield f"by the log there are {logged}, must be {sorted(versions)}"
    shared = _inodes(world.registry) & _inodes(world.staging)
    if shared:
        yield f"{len(shared)} files are shared with staging"


def _logged(world: World) -> list[tuple[str, ...]]:
    """The versions that there are for one who only follows the log."""
    found: list[tuple[str, ...]] = []
    for path in sorted((world.registry / "..logs").iterdir()):
        entry = _json(path)
        names = tuple(entry[key] for key in ("project", "asset", "version") if key in entry)
        if entry["type"] == "add-version":
            found.append(names)
        elif entry["type"] != "reindex-version":
            left = [other for other in found if other[: len(names)] != names]
            if len(left) == len(found):
                left.append(("deleted twice", *names))
            found = left
    return sorted(found)


def _latest(asset: Path) -> Iterator[str]:
    found = asset / "..latest"
    recorded = _json(found)["version"] if found.exists() else None
    summaries = {v.name: _json(v / "..summary") for v in _directories(asset)}
    times = {
        name: dt.datetime.fromisoformat(summary["upload_finish"])
        for name, summary in summaries.items()
        if not summary.get("on_probation")
    }
    last = [name for name, time in times.items() if time == max(times.values())]
    if recorded not in (last or [None]):
        yield f"{asset.name}: latest is {recorded}, must be one of {last}"


def _version(world: World, version: Path) -> Iterator[str]:
    name = version.relative_to(world.registry)
    manifest = _json(version / "..manifest")
    on_disk = _files(version)
    internal = {path for path in on_disk if os.path.basename(path).startswith("..")}
    if {os.path.basename(path) for path in internal} - INTERNAL:
        yield f"{name}: holds {sorted(internal)}"
    if on_disk - internal != set(manifest):
        yield f"{name}: on disk are {sorted(on_disk)}, listed are {sorted(manifest)}"
        return
    links: dict[str, Any] = {}
    for path, entry in manifest.items():
        place = version / path
        if "link" in entry:
            links[path] = entry["link"]
            end = entry["link"].get("ancestor", entry["link"])
            target = world.registry.joinpath(*(end[k] for k in list(end)[:4]))
            if place.resolve() != target.resolve() or os.path.isabs(os.readlink(place)):
                yield f"{name}/{path}: leads to {os.readlink(place)}, must to {end}"
        elif place.is_file() and not place.is_symlink() and os.stat(place).st_mode & 0o777 != 0o644:
            yield f"{name}/{path}: mode {os.stat(place).st_mode:o}"
        if place.is_dir():
            continue
        data = place.read_bytes()
        if (len(data), hashlib.md5(data).hexdigest()) != (entry["size"], entry["md5sum"]):
            yield f"{name}/{path}: is not what the manifest says"
    written = {
        os.path.normpath(os.path.join(os.path.relpath(path.parent, version), file)): link
        for path in version.rglob("..links")
        for file, link in _json(path).items()
    }
    if written != links:
        yield f"{name}: ..links tell {written}, must {links}"


def _strangers(directory: Path, known: set[str]) -> Iterator[str]:
    for path in directory.iterdir():
        name = path.name
        if name.startswith("..") and name not in known and not _is_private(name):
            yield f"{directory.name}/{name} is left behind"


def _directories(top: Path) -> list[Path]:
    found = (path for path in top.iterdir() if not path.name.startswith(".."))
    return sorted(path for path in found if path.is_dir())


def usage(version: Path) -> int:
    """Bytes that a version takes by its manifest."""
    entries = _json(version / "..manifest").values()
    return sum(entry["size"] for entry in entries if "link" not in entry)


def _inodes(top: Path) -> set[tuple[int, int]]:
    found = (os.lstat(f"{at}/{name}") for at, _, files in os.walk(top) for name in files)
    return {(s.st_dev, s.st_ino) for s in found if stat.S_ISREG(s.st_mode)}


def _files(top: Path) -> set[str]:
    """Files, links and empty directories below ``top``."""
    found: set[str] = set()
    for directory, names, files in os.walk(top):
        links = [name for name in names if os.path.islink(f"{directory}/{name}")]
        if not names and not files:
            found.add(directory)
        found |= {f"{directory}/{name}" for name in (*files, *links)}
    return {os.path.relpath(path, top) for path in found}


def _json(path: Path) -> Any:
    return json.loads(path.read_bytes())
