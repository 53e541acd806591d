"""Whoever reads while others publish, delete and reroute sees whole versions and whole files."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
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
        client.reroute_links([{"project": project, "asset": "a", "version": names[0]}])
        client.delete_version(project, "a", names[0])
        if number:
            client.delete_asset(project, "b")
        client.upload(project, "b", str(number), source)


def wrong_with(service: TestService, version: str) -> Iterator[str]:
    """What a reader finds wrong with a version that it has just seen."""
    session = requests.Session()

    def fetch(path: str) -> bytes | None:
        answer = session.get(f"{service.url}/fetch/{quote(path)}")
        assert answer.status_code in (200, 404), answer.text
        return answer.content if answer.ok else None

    told = fetch(f"{version}/..manifest")
    manifest = json.loads(told) if told is not None else {}
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


def test_readers_see_what_is_whole(
    service: TestService, client: Client, project: str, tmp_path: Path
) -> None:
    source = tmp_path / "many"
    source.mkdir()
    for number in range(FILES):
        (source / f"f{number}").write_bytes(b"%d" % number * 30_000)
    changing = threading.Thread(target=change, args=(client, project, source))
    changing.start()
    wrong: list[str] = []
    seen = 0
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
    assert seen > 5
    assert len(client.versions(project, "a")) == 2 * ROUNDS
