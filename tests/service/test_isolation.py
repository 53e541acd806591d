"""Readers see whole versions and whole files while others publish, delete and reroute."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import requests

from gobbler.client import Client
from gobbler.client.testing import TestService

FILES = 12
ROUNDS = 8


def change(client: Client, project: str, source: Path) -> None:
    """Publish a chain of versions, lead its links around the first, delete that; again."""
    for number in range(ROUNDS):
        (source / "f0").write_bytes(b"%d" % number * 50_000)
        names = [f"{number}-{step}" for step in range(3)]
        for name in names:
            client.upload(project, "a", name, source)
        client.admin.reroute_links([{"project": project, "asset": "a", "version": names[0]}])
        client.admin.delete_version(project, "a", names[0])
        if number:
            client.admin.delete_asset(project, "b")
        client.upload(project, "b", str(number), source)


def wrong_with(service: TestService, version: str) -> Iterator[str]:
    """What a reader finds wrong with a version that it has just seen."""
    session = requests.Session()

    def fetch(path: str) -> bytes | None:
        answer = session.get(f"{service.url}/fetch/{quote(path)}")
        assert answer.status_code in (200, 404), answer.text
        return answer.content if answer.ok else None

    reported = fetch(f"{version}/..manifest")
    manifest = json.loads(reported) if reported is not None else {}
    missing = [] if manifest else ["..manifest"]
    for path, entry in manifest.items():
        content = fetch(f"{version}/{path}")
        if content is None:
            missing.append(path)
        elif (len(content), hashlib.md5(content).hexdigest()) != (entry["size"], entry["md5sum"]):
            yield f"{version}/{path} is another file, of {len(content)} bytes"
    # What was deleted meanwhile is gone altogether.
    if missing and Path(service.registry, version).exists():
        yield f"{version} is there without {missing}"


WATCH = r"""
import contextlib, hashlib, json, os, sys

def files(version):
    with open(f"{version}/..manifest", "rb") as file:
        manifest = json.load(file)
    with open(f"{version}/..summary", "rb") as file:
        json.load(file)
    for path, entry in manifest.items():
        with open(f"{version}/{path}", "rb") as file:
            content = file.read()
        if (len(content), hashlib.md5(content).hexdigest()) != (entry["size"], entry["md5sum"]):
            raise ValueError(f"{path} has {len(content)} bytes, not {entry}")
    # It goes when the last link was led around what will be deleted.
    with contextlib.suppress(FileNotFoundError), open(f"{version}/..links", "rb") as file:
        json.load(file)

top, only_new = sys.argv[1], sys.argv[2] == "new"
known = set()
looks = 0
while not os.path.exists(f"{top}/stop"):
    for asset in ("a", "b"):
        try:
            names = os.listdir(f"{top}/{asset}")
        except FileNotFoundError:
            continue
        for name in names:
            version = f"{top}/{asset}/{name}"
            if name.startswith("..") or only_new and version in known:
                continue
            try:
                files(version)
            except (OSError, ValueError) as error:
                # What was deleted meanwhile is gone altogether.
                if os.path.exists(version):
                    print(f"{asset}/{name}: {error}", flush=True)
            known.add(version)
            looks += 1
        if only_new:
            known &= {f"{top}/{asset}/{name}" for name in names} | {
                version for version in known if f"/{asset}/" not in version
            }
print("looks", looks)
"""
"""Reads the versions of a project, all or those that are new, as fast as it can."""


@contextmanager
def watched(project: Path) -> Iterator[list[str]]:
    """Two readers next to the service during the block; what they said, afterwards."""
    said: list[str] = []
    words = [sys.executable, "-c", WATCH, str(project)]
    readers = [
        subprocess.Popen([*words, kind], stdout=subprocess.PIPE, text=True)
        for kind in ("new", "all")
    ]
    try:
        yield said
    finally:
        (project / "stop").touch()
        for reader in readers:
            said += reader.communicate(timeout=60)[0].splitlines()
        (project / "stop").unlink()


def test_readers_see_what_is_whole(
    service: TestService, client: Client, project: str, tmp_path: Path
) -> None:
    source = tmp_path / "many"
    source.mkdir()
    for number in range(FILES):
        (source / f"f{number}").write_bytes(b"%d" % number * 30_000)
    changing = threading.Thread(target=change, args=(client, project, source))
    wrong: list[str] = []
    seen = 0
    with watched(Path(service.registry, project)) as said:
        changing.start()
        while changing.is_alive():
            for asset in ("a", "b"):
                at = f"{project}/{asset}"
                answer = requests.get(f"{service.url}/list", params={"path": at}, timeout=60)
                if answer.ok:
                    names = [name[:-1] for name in answer.json() if not name.startswith("..")]
                    for name in names[-3:]:
                        wrong += wrong_with(service, f"{at}/{name}")
                        seen += 1
        changing.join()
    assert wrong == []
    assert [line for line in said if not line.startswith("looks")] == []
    assert seen > 5
    assert [int(line.split()[1]) > 5 for line in said] == [True, True]
    assert len(client.asset(project, "a").versions()) == 2 * ROUNDS
