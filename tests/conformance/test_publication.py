"""Versions appear all at once and side by side (protocol, section 9, numbers 1, 2 and 5)."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from .service import Service, Symlink, refused


def half_made(version: Path, stop: threading.Event) -> list[str]:
    """What is missing from ``version`` at the first instant that it can be seen."""
    while not version.exists():
        if stop.is_set():
            return ["the version itself"]
    try:
        manifest = json.loads((version / "..manifest").read_bytes())
        json.loads((version / "..summary").read_bytes())
    except FileNotFoundError as error:
        return [str(error.filename)]
    return [path for path in manifest if not (version / path).exists()]


@pytest.mark.beyond
@pytest.mark.parametrize("consume", [False, True])
def test_a_version_is_complete_when_it_can_first_be_seen(
    service: Service, project: str, consume: bool
) -> None:
    service.upload(f"{project}/asset/0", {f"old/{i}": str(i).encode() for i in range(50)})
    tree = {f"{i % 10}/{i}": str(i).encode() * 500 for i in range(300)}
    tree.update({f"links/{i}": Symlink(f"../{i % 10}/{i}") for i in range(100)})
    payload = service.upload_of(f"{project}/asset/1", {**tree, "empty": None}, consume=consume)
    stop = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        watched = pool.submit(half_made, service.registry / project / "asset/1", stop)
        try:
            service.succeed("upload", payload)
        finally:
            stop.set()
        assert watched.result(30) == []


@pytest.mark.beyond
def test_the_listing_of_an_asset_never_shows_a_version_in_the_making(
    service: Service, project: str
) -> None:
    service.upload(f"{project}/asset/0", {"a": b"a"})
    payload = service.upload_of(f"{project}/asset/1", {str(i): b"x" * i for i in range(300)})
    known = {"..latest", "0", "1"}
    with ThreadPoolExecutor(1) as pool:
        upload = pool.submit(service.submit, "upload", payload)
        while not upload.done():
            names = {path.name for path in (service.registry / project / "asset").iterdir()}
            assert {name for name in names if not name.startswith("..LOCK")} <= known
        assert upload.result().status_code == 200


def test_versions_uploaded_side_by_side_are_all_published(service: Service, project: str) -> None:
    versions = [str(i) for i in range(8)]
    trees = {version: {"a": version.encode() * 10, "b": b"same"} for version in versions}
    payloads = [service.upload_of(f"{project}/asset/{v}", tree) for v, tree in trees.items()]
    with ThreadPoolExecutor(len(payloads)) as pool:
        responses = list(pool.map(lambda payload: service.submit("upload", payload), payloads))
    assert [response.status_code for response in responses] == [200] * len(versions)
    check_accounts(service, project, "asset", versions)


def test_assets_made_side_by_side_are_all_published(service: Service, project: str) -> None:
    assets = [f"asset{i}" for i in range(8)]
    payloads = [service.upload_of(f"{project}/{asset}/1", {"a": b"123"}) for asset in assets]
    with ThreadPoolExecutor(len(payloads)) as pool:
        responses = list(pool.map(lambda payload: service.submit("upload", payload), payloads))
    assert [response.status_code for response in responses] == [200] * len(assets)
    for asset in assets:
        assert service.read(f"{project}/{asset}/..latest") == {"version": "1"}
    assert service.read(f"{project}/..usage") == {"total": 3 * len(assets)}


def check_accounts(service: Service, project: str, asset: str, versions: list[str]) -> None:
    """Usage, latest and log agree with the versions."""
    manifests = {v: service.read(f"{project}/{asset}/{v}/..manifest") for v in versions}
    entries = [entry for manifest in manifests.values() for entry in manifest.values()]
    unlinked = sum(entry["size"] for entry in entries if "link" not in entry)
    assert service.read(f"{project}/..usage") == {"total": unlinked}
    finished = {v: service.read(f"{project}/{asset}/{v}/..summary") for v in versions}
    latest = service.read(f"{project}/{asset}/..latest")["version"]
    newest = max(summary["upload_finish"] for summary in finished.values())
    logged = [entry["version"] for entry in service.logs(project)]
    # Whoever finishes last need not be published last. Within a second, not all services log in
    # order.
    assert finished[latest]["upload_finish"] == newest or latest == logged[-1]
    assert sorted(logged) == sorted(versions)
    for version, manifest in manifests.items():
        for path in manifest:
            assert (service.registry / project / asset / version / path).exists()


@pytest.mark.beyond
def test_the_log_and_latest_agree_about_who_was_last(service: Service, project: str) -> None:
    payloads = [service.upload_of(f"{project}/asset/{i}", {"a": b"%d" % i}) for i in range(8)]
    with ThreadPoolExecutor(len(payloads)) as pool:
        list(pool.map(lambda payload: service.submit("upload", payload), payloads))
    last = service.logs(project)[-1]["version"]
    assert service.read(f"{project}/asset/..latest") == {"version": last}


def test_one_version_uploaded_twice_at_a_time_is_published_once(
    service: Service, project: str
) -> None:
    for version in ("1", "2", "3"):
        trees = [{"a": b"first" * 1000}, {"b": b"second" * 1000}, {"c": b"third" * 1000}]
        payloads = [service.upload_of(f"{project}/asset/{version}", tree) for tree in trees]
        with ThreadPoolExecutor(len(payloads)) as pool:
            responses = list(pool.map(lambda p: service.submit("upload", p), payloads))
        assert sorted(r.status_code for r in responses) == [200, 400, 400]
        winner = next(i for i, r in enumerate(responses) if r.status_code == 200)
        for i, response in enumerate(responses):
            if i != winner:
                refused(response, version)
        manifest = service.read(f"{project}/asset/{version}/..manifest")
        assert set(manifest) == set(trees[winner])
    check_accounts(service, project, "asset", ["1", "2", "3"])


def test_one_project_created_twice_at_a_time_is_created_once(service: Service) -> None:
    for _ in range(3):
        payload = {"project": service.unique()}
        with ThreadPoolExecutor(4) as pool:
            responses = list(pool.map(lambda p: service.submit("create_project", p), [payload] * 4))
        assert sorted(r.status_code for r in responses) == [200, 400, 400, 400]
