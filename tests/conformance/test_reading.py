"""The endpoints that read, but for ``/fetch`` (protocol, section 8)."""

from __future__ import annotations

import os
from urllib.parse import quote

import pytest
import requests

from .service import Service, Symlink, refused

TREE = {"a": b"a", "d/b": b"bb", "d/e/f": b"", "empty/inner": None, "link": Symlink("d/b")}

ODD = ["a b", "a+b", "100%", "a%20b", "%41", "ü", "日本", "a&b=c", "a?b", "a#b", "a;b", "-"]


@pytest.fixture(scope="module")
def published(service: Service) -> str:
    """A version, as ``project/asset/version``."""
    address = f"{service.new_project()}/asset/1"
    service.upload(address, TREE)
    return address


def listing(response: requests.Response) -> list[str]:
    """The sorted paths of a listing."""
    assert response.status_code == 200, response.text
    assert response.headers["Content-Type"].split(";")[0] == "application/json"
    paths = response.json()
    assert len(set(paths)) == len(paths)
    return sorted(paths)


def without_locks(paths: list[str]) -> list[str]:
    return [path for path in paths if "..LOCK" not in path]


def test_info_reports_the_directories(service: Service) -> None:
    response = service.get("/info")
    assert response.headers["Content-Type"].split(";")[0] == "application/json"
    info = response.json()
    assert os.path.samefile(info["staging"], service.staging)
    assert os.path.samefile(info["registry"], service.registry)


def test_the_root_names_the_api(service: Service) -> None:
    response = service.get("/", headers={"Accept": "application/json"})
    assert response.status_code == 200
    assert response.headers["Content-Type"].split(";")[0] == "application/json"
    assert response.json()["name"] == "gobbler API"


class TestAListing:
    def test_shows_entries_and_marks_directories(self, service: Service, published: str) -> None:
        expected = ["..links", "..manifest", "..summary", "a", "d/", "empty/", "link"]
        assert listing(service.list(published)) == expected
        assert listing(service.list(published, recursive=False)) == expected

    def test_shows_every_file_when_recursive(self, service: Service, published: str) -> None:
        assert listing(service.list(published, recursive=True)) == [
            "..links",
            "..manifest",
            "..summary",
            "a",
            "d/b",
            "d/e/f",
            "empty/inner/",
            "link",
        ]

    def test_is_relative_to_its_path(self, service: Service, published: str) -> None:
        assert listing(service.list(f"{published}/d")) == ["b", "e/"]
        assert listing(service.list(f"{published}/d", recursive=True)) == ["b", "e/f"]

    @pytest.mark.parametrize("recursive", [True, False])
    def test_of_an_empty_directory_is_empty(
        self, service: Service, published: str, recursive: bool
    ) -> None:
        found = listing(service.list(f"{published}/empty/inner", recursive=recursive))
        assert [path for path in found if path != "./"] == []

    def test_shows_internal_files_everywhere(self, service: Service, published: str) -> None:
        project, asset, version = published.split("/")
        found = without_locks(listing(service.list(project)))
        assert found == ["..permissions", "..quota", "..usage", f"{asset}/"]
        found = without_locks(listing(service.list(f"{project}/{asset}")))
        assert found == ["..latest", f"{version}/"]
        found = listing(service.list(project, recursive=True))
        assert {"..usage", f"{asset}/..latest", f"{asset}/{version}/d/e/f"} <= set(found)

    @pytest.mark.parametrize("path", [None, "", "."])
    def test_without_a_path_is_of_the_registry(
        self, service: Service, published: str, path: str | None
    ) -> None:
        found = listing(service.list(path))
        assert published.split("/", maxsplit=1)[0] + "/" in found
        assert "..logs/" in found

    def test_of_the_logs_shows_the_entries(self, service: Service, published: str) -> None:
        names = listing(service.list("..logs"))
        assert names
        assert set(names) <= set(os.listdir(service.registry / "..logs"))

    @pytest.mark.parametrize(
        "path", ["..", "../", "../staging", "/", "/etc", "a/../..", "a/../../b", "../../../etc"]
    )
    def test_that_leaves_the_registry_is_refused(self, service: Service, path: str) -> None:
        refused(service.list(path), status=400)

    def test_that_leaves_the_registry_by_its_own_path_is_refused(self, service: Service) -> None:
        refused(service.list(str(service.registry)), status=400)

    def test_of_what_is_missing_is_an_error(self, service: Service, published: str) -> None:
        for path in ("not-there", f"{published}/not-there"):
            refused(service.list(path))

    @pytest.mark.beyond
    @pytest.mark.parametrize("recursive", [True, False])
    def test_of_what_is_missing_is_not_found(
        self, service: Service, published: str, recursive: bool
    ) -> None:
        for path in ("not-there", f"{published}/not-there", f"{published}/d/b/c"):
            refused(service.list(path, recursive=recursive), path, status=404)

    @pytest.mark.beyond
    @pytest.mark.parametrize("path", ["a\0b", "x" * 300, "/".join("x" * 5000)])
    def test_of_an_impossible_path_is_the_clients_mistake(
        self, service: Service, path: str
    ) -> None:
        assert service.list(path).status_code in (400, 404)

    @pytest.mark.beyond
    @pytest.mark.parametrize("name", ODD)
    def test_decodes_its_path_once(self, service: Service, project: str, name: str) -> None:
        service.upload(f"{project}/{name}/{name}", {f"{name}/{name}": b"x"})
        assert listing(service.list(f"{project}/{name}/{name}/{name}")) == [name]
        query = quote(f"{project}/{name}/{name}/{name}", safe="")
        assert service.get(f"/list?path={query}").json() == [name]


@pytest.mark.parametrize("path", ["/", "/info", "/list", "/fetch/a/b", "/new/request-x", "/a/b"])
def test_options_are_answered_everywhere(service: Service, path: str) -> None:
    response = service.http.options(service.url + path, timeout=30)
    assert response.status_code == 204
    assert response.content == b""
    assert response.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize(
    "path", ["/", "/info", "/list", "/list?path=..", "/list?path=not-there", "/fetch/not-there"]
)
def test_every_answer_is_readable_from_any_page(service: Service, path: str) -> None:
    assert service.get(path).headers["Access-Control-Allow-Origin"] == "*"


def test_a_refused_request_is_readable_from_any_page(service: Service) -> None:
    response = service.post("request-health_check-not-there")
    assert response.status_code == 400
    assert response.headers["Access-Control-Allow-Origin"] == "*"
