"""A service of the protocol as a user sees it: request files, staged directories, HTTP."""

from __future__ import annotations

import hashlib
import http.client
import itertools
import json
import os
import pwd
import re
import secrets
import shutil
import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import requests

TIMEOUT = 60.0
"""Seconds that any answer may take."""

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)"
"""RFC 3339 with offset, as a regular expression."""


@dataclass(frozen=True)
class Symlink:
    """A symbolic link of a :data:`Tree`."""

    target: str | Path


Tree = Mapping[str, "bytes | Symlink | None"]
"""What to put in a directory, by path: a file's content, a symlink, or a directory (None)."""


def build(directory: Path, tree: Tree, user: str | None = None) -> None:
    """Make ``directory`` with the content of ``tree``, all of it owned by ``user``."""
    directory.mkdir(mode=0o755)
    for path, content in tree.items():
        place = directory / path
        if content is None:
            place.mkdir(parents=True, exist_ok=True)
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Symlink):
            place.symlink_to(content.target)
        else:
            place.write_bytes(content)
    if user is not None:
        give(directory, user)


def give(directory: Path, user: str) -> None:
    """Give ``directory`` and everything below it to ``user``."""
    uid, gid = pwd.getpwnam(user)[2:4]
    for place in [directory, *directory.rglob("*")]:
        os.chown(place, uid, gid, follow_symlinks=False)


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def plain(content: bytes) -> dict[str, Any]:
    """The manifest entry of an ordinary file."""
    return {"size": len(content), "md5sum": md5(content)}


def linked(content: bytes, link: dict[str, Any]) -> dict[str, Any]:
    """The manifest entry of a linked file."""
    return {**plain(content), "link": link}


def link(address: str, ancestor: str | None = None) -> dict[str, Any]:
    """The link to ``project/asset/version/path``."""
    made: dict[str, Any] = dict(
        zip(("project", "asset", "version", "path"), address.split("/", 3), strict=True)
    )
    if ancestor is not None:
        made["ancestor"] = link(ancestor)
    return made


EMPTY_DIRECTORY = {"size": 0, "md5sum": ""}


class Service:
    """One running service, its staging directory and its registry."""

    def __init__(self, url: str, staging: Path, registry: Path) -> None:
        self.url = url.rstrip("/")
        self.staging = staging
        self.registry = registry
        self.http = requests.Session()
        self._mark = f"c{secrets.token_hex(4)}"
        self._counter = itertools.count()
        self._logged: dict[str, dict[str, Any]] = {}  # they never change

    def unique(self) -> str:
        """A name that nobody has used yet."""
        return f"{self._mark}-{next(self._counter)}"

    def close(self) -> None:
        """Leave the service, and remove from staging what the tests have put there."""
        self.http.close()
        for path in self.staging.iterdir():
            if self._mark not in path.name:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()

    # HTTP

    def get(self, path: str, **options: Any) -> requests.Response:
        return self.http.get(self.url + path, timeout=TIMEOUT, **options)

    def fetch(self, path: str, **options: Any) -> requests.Response:
        return self.get("/fetch/" + quote(path), **options)

    def list(self, path: str | None = None, *, recursive: bool | None = None) -> requests.Response:
        query = {} if path is None else {"path": path}
        if recursive is not None:
            query["recursive"] = "true" if recursive else "false"
        return self.get("/list", params=query)

    def raw(self, method: str, target: str) -> tuple[int, bytes]:
        """Send ``target`` byte for byte (other clients tidy it up); status and body."""
        parts = urlsplit(self.url)
        connection = http.client.HTTPConnection(parts.netloc, timeout=TIMEOUT)
        try:
            connection.request(method, parts.path + target)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def post(self, name: str, timeout: float = TIMEOUT) -> requests.Response:
        """Ask for the request file ``name`` to be carried out."""
        address = f"{self.url}/new/{quote(name, safe='')}"
        return self.http.post(address, timeout=timeout)

    # Staging

    def write_request(
        self, action: str, payload: object, user: str | None = None, name: str | None = None
    ) -> str:
        """A request file with ``payload`` (bytes: as they are) of ``user``; its name."""
        name = name or f"request-{action}-{self.unique()}"
        path = self.staging / name
        path.write_bytes(payload if isinstance(payload, bytes) else json.dumps(payload).encode())
        if user is not None:
            os.chown(path, *pwd.getpwnam(user)[2:4])
        return name

    def stage(self, tree: Tree, user: str | None = None) -> str:
        """A source directory of ``user`` in staging; its name."""
        name = self.unique()
        build(self.staging / name, tree, user)
        return name

    # Requests

    def submit(self, action: str, payload: object, user: str | None = None) -> requests.Response:
        """Write a request file, have it carried out, and see that it is still there."""
        name = self.write_request(action, payload, user)
        response = self.post(name)
        path = self.staging / name
        assert path.is_file(), "the request file is the client's: it must still be there"
        path.unlink()
        return response

    def succeed(self, action: str, payload: object, user: str | None = None) -> dict[str, Any]:
        """Submit, and expect success; the answer."""
        return successful(self.submit(action, payload, user))

    def refuse(
        self,
        action: str,
        payload: object,
        *names: str,
        status: int | None = None,
        user: str | None = None,
    ) -> None:
        """Submit, and expect ``status`` (default: any error), a reason, and no change."""
        fields = payload if isinstance(payload, dict) else {}
        before = self.snapshot(fields.get("project"))
        refused(self.submit(action, payload, user), *names, status=status)
        assert self.snapshot(fields.get("project")) == before

    def new_project(self, **permissions: Any) -> str:
        project = self.unique()
        self.succeed("create_project", {"project": project, "permissions": permissions})
        return project

    def upload(
        self, address: str, tree: Tree, user: str | None = None, **fields: Any
    ) -> dict[str, Any]:
        """Publish ``tree`` as ``project/asset/version``; its manifest."""
        self.succeed("upload", self.upload_of(address, tree, user, **fields), user)
        return self.read(f"{address}/..manifest")

    def upload_of(
        self, address: str, tree: Tree, user: str | None = None, **fields: Any
    ) -> dict[str, Any]:
        """The payload of an upload of ``tree``, which is staged for ``user``."""
        project, asset, version = address.split("/")
        names = {"project": project, "asset": asset, "version": version}
        return {**names, "source": self.stage(tree, user), **fields}

    # Registry

    def read(self, path: str) -> Any:
        """The content of a JSON file of the registry."""
        return json.loads((self.registry / path).read_bytes())

    def logs(self, project: str) -> list[dict[str, Any]]:
        """Log entries about ``project``, in the order of their times."""
        names = self._names_in("..logs")
        for name in names - self._logged.keys():
            self._logged[name] = self.read(f"..logs/{name}")
        entries = [self._logged[name] for name in sorted(names)]
        return [entry for entry in entries if entry["project"] == project]

    def _names_in(self, directory: str) -> set[str]:
        found = os.listdir(self.registry / directory)
        return {name for name in found if re.fullmatch(TIME + r"_\d{6}", name)}

    def snapshot(self, project: object = None) -> dict[str, tuple[object, ...]]:
        """All that a change could touch, as values: the top level, the logs, ``project``.

        Lock files and ``..incoming`` are the service's own business. So are assets without
        anything in them, which the Go service leaves where it refuses an upload.
        """
        tops = {name for name in os.listdir(self.registry) if not _is_private(name)}
        seen: dict[str, tuple[object, ...]] = {
            ".": tuple(sorted(tops)),
            "..logs": tuple(sorted(self._names_in("..logs"))),
        }
        if isinstance(project, str) and project in tops and not project.startswith(".."):
            top = self.registry / project
            for place in [top, *top.rglob("*")]:
                if not _is_private(place.name) and not _is_empty_asset(place, top):
                    seen[str(place.relative_to(self.registry))] = _facts(place)
        return seen

    def check_nothing_is_left_in_the_making(self) -> None:
        """What was removed goes in the background, and jobs are answered before they clear away."""
        deadline = time.monotonic() + 30
        while self.incoming() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert self.incoming() == []

    def incoming(self) -> list[str]:
        """What is being built, or was left behind."""
        path = self.registry / "..incoming"
        return os.listdir(path) if path.exists() else []


def _is_private(name: str) -> bool:
    return name.startswith("..LOCK") or name in ("..incoming", "..reserve")


def _is_empty_asset(place: Path, project: Path) -> bool:
    if place.parent != project or place.is_symlink() or not place.is_dir():
        return False
    return all(_is_private(name) for name in os.listdir(place))


def _facts(place: Path) -> tuple[object, ...]:
    info = place.lstat()
    if stat.S_ISLNK(info.st_mode):
        return ("link", os.readlink(place))
    content = place.read_bytes() if stat.S_ISREG(info.st_mode) else b""
    return (oct(info.st_mode), info.st_uid, content)


def successful(response: requests.Response) -> dict[str, Any]:
    """Check that ``response`` reports success; returns the answer."""
    assert response.status_code == 200, response.text
    assert response.headers["Content-Type"].split(";")[0] == "application/json"
    answer = response.json()
    assert answer["status"] == "SUCCESS"
    return answer


def refused(response: requests.Response, *names: str, status: int | None = None) -> str:
    """Check that ``response`` is an error with a reason that contains ``names``; the reason."""
    if status is None:
        assert response.status_code in (400, 403, 404, 500), response.text
    else:
        assert response.status_code == status, response.text
    assert response.headers["Content-Type"].split(";")[0] == "application/json"
    answer = response.json()
    assert answer["status"] == "ERROR"
    for name in names:
        assert name in answer["reason"], answer["reason"]
    assert answer["reason"]
    return answer["reason"]
