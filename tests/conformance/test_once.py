"""A request is carried out at most once (protocol, section 3; section 9, number 9)."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from .conftest import OwnService
from .launch import Process, new_directories
from .service import Service, refused, successful

BEGUN = "path is already being processed"


@pytest.fixture
def directories(own: OwnService, tmp_path: Path) -> tuple[Path, Path]:
    """Staging and registry for services that a test starts and stops itself."""
    return new_directories(tmp_path / "once")


@pytest.fixture
def client(directories: tuple[Path, Path]) -> Iterator[Service]:
    """A client of those directories; its ``url`` is set when there is a service."""
    client = Service("", *directories)
    yield client
    client.close()


def test_the_same_file_twice_is_refused(service: Service) -> None:
    name = service.write_request("health_check", {})
    successful(service.post(name))
    refused(service.post(name), BEGUN, status=400)
    refused(service.post(name), BEGUN, status=400)


def test_a_request_that_failed_has_begun_too(service: Service) -> None:
    project = service.unique()
    payload = service.upload_of(f"{project}/asset/1", {"a": b"a"})
    name = service.write_request("upload", payload)
    refused(service.post(name), status=404)
    service.succeed("create_project", {"project": project})
    refused(service.post(name), BEGUN, status=400)
    assert not (service.registry / project / "asset").exists()


def test_a_replay_changes_nothing(service: Service) -> None:
    project = service.unique()
    name = service.write_request("create_project", {"project": project})
    successful(service.post(name))
    before = service.snapshot(project)
    refused(service.post(name), BEGUN, status=400)
    assert service.snapshot(project) == before


def test_many_at_once_are_carried_out_once(service: Service) -> None:
    name = service.write_request("create_project", {"project": service.unique()})
    with ThreadPoolExecutor(8) as pool:
        responses = list(pool.map(service.post, [name] * 16))
    statuses = sorted(response.status_code for response in responses)
    assert statuses == [200] + [400] * 15
    for response in responses:
        if response.status_code == 400:
            refused(response, BEGUN)


@pytest.mark.beyond
@pytest.mark.parametrize("how", ["rewritten", "deleted and written", "renamed over"])
def test_a_corrected_request_under_the_same_name_is_new(service: Service, how: str) -> None:
    project = service.unique()
    name = service.write_request("create_project", {"projekt": project})
    refused(service.post(name), "project", status=400)
    path = service.staging / name
    time.sleep(0.02)  # file systems count change times in ticks of some milliseconds
    if how == "deleted and written":
        path.unlink()
    if how == "renamed over":
        other = service.write_request("corrected", {"project": project})
        (service.staging / other).rename(path)
    else:
        service.write_request("create_project", {"project": project}, name=name)
    successful(service.post(name))
    refused(service.post(name), BEGUN, status=400)


def test_a_restart_forgets_nothing(client: Service, directories: tuple[Path, Path]) -> None:
    name = client.write_request("health_check", {})
    with Process(*directories) as first:
        client.url = first.url
        successful(client.post(name))
    with Process(*directories) as second:
        client.url = second.url
        refused(client.post(name), BEGUN, status=400)
        client.succeed("health_check", {})


@pytest.mark.beyond
def test_a_time_in_the_future_buys_no_replay(
    client: Service, directories: tuple[Path, Path]
) -> None:
    name = client.write_request("health_check", {})
    tomorrow = time.time() + 86_400
    os.utime(client.staging / name, (tomorrow, tomorrow))
    with Process(*directories) as first:
        client.url = first.url
        successful(client.post(name))
        refused(client.post(name), BEGUN, status=400)
    with Process(*directories) as second:
        client.url = second.url
        refused(client.post(name), BEGUN, status=400)


@pytest.mark.beyond
def test_a_request_written_before_the_start_is_carried_out(
    client: Service, directories: tuple[Path, Path]
) -> None:
    name = client.write_request("health_check", {})
    with Process(*directories) as process:
        client.url = process.url
        successful(client.post(name))


def test_two_services_with_one_staging_directory_carry_it_out_once(
    client: Service, directories: tuple[Path, Path]
) -> None:
    with Process(*directories) as first, Process(*directories) as second:
        other = Service(second.url, *directories)
        client.url = first.url
        with ThreadPoolExecutor(4) as pool:
            for _ in range(10):
                name = client.write_request("health_check", {})
                posts = [client.post, other.post] * 2
                answers = list(pool.map(lambda post, name=name: post(name), posts))
                statuses = sorted(answer.status_code for answer in answers)
                assert statuses == [200, 400, 400, 400]
        other.close()


def test_options_may_be_spelled_with_one_dash(directories: tuple[Path, Path]) -> None:
    with Process(*directories, dash="-") as process:
        client = Service(process.url, *directories)
        client.succeed("create_project", {"project": "spelled"})
        client.close()
