"""``/links``: what is linked to a version, and what has the same content."""

from __future__ import annotations

import pytest

from .rerouting import copied, moved
from .service import Service, Symlink, refused

pytestmark = pytest.mark.beyond


@pytest.fixture
def content(project: str) -> bytes:
    """What nobody else has."""
    return f"content of {project}".encode()


@pytest.fixture
def asset(service: Service, project: str, content: bytes) -> str:
    """Version 1 holds a file, 2 links to it and 3 to that, each beside a file of its own."""
    asset = f"{project}/asset"
    for version in ("1", "2", "3"):
        service.upload(f"{asset}/{version}", {"d/f": content, "own": version.encode() + content})
    return asset


def shares(version: str, content: bytes, *, stored: bool) -> dict[str, object]:
    size = len(content)
    return {"version": version, "files": 1, "size": size, "stored": size if stored else 0}


def test_links_are_reported_as_reroute_links_would_change_them(
    service: Service, asset: str, content: bytes
) -> None:
    answer = service.get(f"/links/{asset}/1")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    doomed = f"{asset}/1/d/f"
    assert answer.json()["links"] == [
        copied(f"{asset}/2/d/f", doomed, len(content)),
        moved(f"{asset}/3/d/f", doomed),
    ]
    assert service.get(f"/links/{asset}/3").json()["links"] == []


def test_other_versions_with_the_content_are_reported(
    service: Service, asset: str, content: bytes
) -> None:
    other = service.new_project()
    service.upload(f"{other}/b/1", {"stored": content, "again": content})
    target = service.registry / asset / "3/d/f"
    service.upload(f"{other}/c/1", {"linked": Symlink(target)})
    expected = [
        shares(f"{asset}/1", content, stored=True),
        shares(f"{asset}/3", content, stored=False),
        shares(f"{other}/b/1", content, stored=True),
        shares(f"{other}/c/1", content, stored=False),
    ]
    found = service.get(f"/links/{asset}/2").json()["shared"]
    assert sorted(found, key=str) == sorted(expected, key=str)
    links = service.get(f"/links/{asset}/3").json()["links"]
    assert links == [moved(f"{other}/c/1/linked", f"{asset}/3/d/f")]


def test_empty_files_are_nothing_in_common(service: Service, project: str) -> None:
    for name in ("a", "b"):
        service.upload(f"{project}/{name}/1", {"empty": b"", "directory": None})
    assert service.get(f"/links/{project}/a/1").json() == {"links": [], "shared": []}


def test_a_version_on_probation_is_reported(service: Service, project: str, content: bytes) -> None:
    service.upload(f"{project}/a/1", {"f": content})
    service.upload(f"{project}/a/2", {"f": content}, on_probation=True)
    found = service.get(f"/links/{project}/a/1").json()
    assert [link["path"] for link in found["links"]] == [f"{project}/a/2/f"]
    assert service.get(f"/links/{project}/a/2").json()["shared"] == [
        shares(f"{project}/a/1", content, stored=True)
    ]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("{}/9", 404),
        ("nothing/a/1", 404),
        ("{}", 400),
        ("{}/1/d", 400),
        ("{}/..summary", 400),
        ("{}/%2e", 400),
        ("", 400),
    ],
)
def test_what_is_no_version_is_refused(
    service: Service, asset: str, path: str, status: int
) -> None:
    refused(service.get("/links/" + path.format(asset)), status=status)


def test_a_damaged_manifest_is_named(service: Service, asset: str) -> None:
    """What it would say can't be known."""
    manifest = service.registry / asset / "2/..manifest"
    kept = manifest.read_bytes()
    manifest.write_bytes(b"{")
    try:
        refused(service.get(f"/links/{asset}/1"), f"{asset}/2/..manifest", "damaged", status=500)
    finally:
        manifest.write_bytes(kept)
    assert service.get(f"/links/{asset}/1").status_code == 200
