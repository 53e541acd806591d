"""The directories of one service, and what is to be seen in them."""

from __future__ import annotations

import json
import os
import shutil
import stat
import time
from pathlib import Path
from typing import Any

from gobbler.registry.discarded import discarded_trees

REMOVED_WITHIN = 10.0
"""Seconds in which a service removes small trees that were discarded."""

State = dict[str, tuple[object, ...]]
"""Kind, mode, owner and content of all that matters, by path."""

KNOWN = {
    *("..permissions", "..usage", "..quota", "..latest", "..summary", "..manifest", "..links"),
    *("..LOCK", "..LOCK_NEWDIR", "..LOCK_USAGE", "..logs", "..incoming", "..reserve"),
}
"""Internal names that may stand in a registry; any other is a stray file."""

BEGUN, SPOOL = "..requests", "..spool"

KEPT = (BEGUN, SPOOL, "..logs", "..incoming", "..reserve")
"""Directories of the service, which stay when a world becomes another."""


class World:
    """Staging and registry below ``top``."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.staging, self.registry = top / "staging", top / "registry"

    @property
    def _begun(self) -> Path:
        return self.staging / BEGUN

    def make(self) -> None:
        self.staging.mkdir(parents=True)
        self.staging.chmod(0o1777)
        self.registry.mkdir()

    def become(self, template: World) -> None:
        """Have the content of ``template``, under a running service that has nothing to do."""
        for mine, theirs in ((self.staging, template.staging), (self.registry, template.registry)):
            for name in os.listdir(mine):
                if name not in KEPT:
                    _remove(mine / name)
            for name in os.listdir(theirs):
                if name not in KEPT:
                    _copy(str(theirs / name), str(mine / name))
        (self.registry / "..logs").mkdir(exist_ok=True)
        for directory in (self.registry / "..logs", self.registry / "..incoming", self._begun):
            for child in os.listdir(directory) if directory.exists() else ():
                _remove(directory / child)
        for child in os.listdir(template.registry / "..logs"):
            _copy(f"{template.registry}/..logs/{child}", f"{self.registry}/..logs/{child}")

    def published(self) -> State:
        """All that readers see. Times of new versions are left out, and names of logs."""
        # The service may be recovering unfinished files.
        seen = _walk(self.registry, besides="..incoming")
        found = {path: facts for path, facts in seen if _matters(path)}
        logs = sorted(path for path in found if path.startswith("..logs/"))
        for number, path in enumerate(logs, 1):
            found[f"..logs/{number:03d}"] = found.pop(path)
        return found

    def content(self) -> dict[str, bytes]:
        """What the versions hold, links followed."""
        return {
            path: (self.registry / path).read_bytes()
            for path, _ in _walk(self.registry)
            if "/" in path and ".." not in path and (self.registry / path).is_file()
        }

    def sources(self) -> State:
        """What users have put into staging, but for request files."""
        return {
            path: facts
            for path, facts in _walk(self.staging, besides=BEGUN)
            if not path.startswith("request-")
        }

    def strays(self) -> list[str]:
        """Files that nobody needs: in the making, of a strange name, or with a second name."""
        wait_for_removals(str(self.registry))
        found = [f"..incoming/{name}" for name in os.listdir(self.registry / "..incoming")]
        for directory, names, files in os.walk(self.registry):
            for name in (*names, *files):
                path = os.path.join(directory, name)
                short = os.path.relpath(path, self.registry)
                if short.startswith("..incoming/"):
                    continue
                if name.startswith("..") and name not in KNOWN:
                    found.append(short)
                status = os.lstat(path)
                if stat.S_ISREG(status.st_mode) and status.st_nlink > 1:
                    found.append(f"{short} (has {status.st_nlink} names)")
        return sorted(found)

    def projects(self) -> list[str]:
        return _directories(self.registry)

    def assets(self, project: str) -> list[str]:
        return _directories(self.registry / project)

    def versions(self, project: str, asset: str) -> list[str]:
        return _directories(self.registry / project / asset)

    def recorded(self, path: str) -> Any:
        """The content of a JSON file of the registry, if it is there."""
        try:
            return json.loads((self.registry / path).read_bytes())
        except FileNotFoundError:
            return None


def wait_for_removals(registry: str) -> None:
    """Wait until the service has removed the discarded trees, or does not."""
    deadline = time.monotonic() + REMOVED_WITHIN
    while discarded_trees(registry) and time.monotonic() < deadline:
        time.sleep(0.01)


def _directories(top: Path) -> list[str]:
    with os.scandir(top) as entries:
        return sorted(e.name for e in entries if not e.name.startswith("..") and e.is_dir())


def _matters(path: str) -> bool:
    return not path.startswith(("..incoming", "..reserve")) and "..LOCK" not in path


def _walk(top: Path, besides: str = "") -> list[tuple[str, tuple[object, ...]]]:
    found = []
    for directory, names, files in os.walk(top):
        names[:] = [name for name in names if name != besides]
        for name in (*names, *files):
            path = os.path.join(directory, name)
            found.append((os.path.relpath(path, top), _facts(path, name)))
    return found


def _facts(path: str, name: str) -> tuple[object, ...]:
    status = os.lstat(path)
    if stat.S_ISLNK(status.st_mode):
        return ("link", os.readlink(path))
    kind = (oct(status.st_mode), status.st_uid)
    if not stat.S_ISREG(status.st_mode):
        return kind
    with open(path, "rb") as handle:
        content = handle.read()
    return (*kind, _without_times(content) if name == "..summary" else content)


def _without_times(summary: bytes) -> bytes:
    try:
        fields = json.loads(summary)
        for name in ("upload_start", "upload_finish"):
            fields[name] = f"{len(fields[name])} characters"
        return json.dumps(fields).encode()
    except (ValueError, KeyError, TypeError):
        return summary


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        # The service may look around, too: what it makes meanwhile goes with the rest.
        shutil.rmtree(path, ignore_errors=True)
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _copy(old: str, new: str) -> None:
    status = os.lstat(old)
    if stat.S_ISLNK(status.st_mode):
        os.symlink(os.readlink(old), new)
    elif stat.S_ISDIR(status.st_mode):
        os.mkdir(new)
        for name in os.listdir(old):
            _copy(f"{old}/{name}", f"{new}/{name}")
    else:
        shutil.copyfile(old, new)
    if status.st_uid != os.geteuid():
        os.chown(new, status.st_uid, -1, follow_symlinks=False)
    if not stat.S_ISLNK(status.st_mode):
        os.chmod(new, stat.S_IMODE(status.st_mode))
    os.utime(new, ns=(status.st_atime_ns, status.st_mtime_ns), follow_symlinks=False)
