"""A prefix before every endpoint (protocol, section 8)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests

from .conftest import OwnService
from .launch import Process, new_directories
from .service import Service


@pytest.fixture(scope="module", params=["gobbler", "/gobbler", "gobbler/", "/deep/er/"])
def prefixed(
    own: OwnService, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """A service with a prefix; its ``url`` has it."""
    staging, registry = new_directories(tmp_path_factory.mktemp("prefix"))
    with Process(staging, registry, prefix=request.param) as process:
        client = Service(process.url, staging, registry)
        yield client
        client.close()


def test_every_endpoint_is_below_it(prefixed: Service) -> None:
    project = prefixed.new_project()
    prefixed.upload(f"{project}/asset/1", {"d/f": b"file"})
    assert prefixed.get("/info").json()["registry"] == str(prefixed.registry)
    assert prefixed.list(f"{project}/asset").status_code == 200
    assert prefixed.fetch(f"{project}/asset/1/d/f").content == b"file"
    assert prefixed.get("/", headers={"Accept": "application/json"}).status_code == 200
    assert requests.options(prefixed.url + "/info", timeout=30).status_code == 204


@pytest.mark.parametrize("path", ["/info", "/list", "/fetch/..logs", "/"])
def test_there_is_nothing_beside_it(prefixed: Service, path: str) -> None:
    host = "/".join(prefixed.url.split("/")[:3])
    assert requests.get(host + path, timeout=30).status_code == 404


def test_no_request_is_carried_out_beside_it(prefixed: Service) -> None:
    project = prefixed.unique()
    name = prefixed.write_request("create_project", {"project": project})
    host = "/".join(prefixed.url.split("/")[:3])
    assert requests.post(f"{host}/new/{name}", timeout=30).status_code in (404, 405)
    assert not (prefixed.registry / project).exists()
    assert prefixed.post(name).status_code == 200
