"""``GET /metrics`` counts what all processes of the service do."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import requests
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics_families,
)
from prometheus_client.parser import text_string_to_metric_families

from gobbler.model.progress import Phase

from .processes import Place, Running, upload_of, wait_for


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def read(service: Running) -> dict[tuple[str, str], float]:
    """Each sample by its name and the values of its labels."""
    response = requests.get(f"{service.url}/metrics", timeout=30)
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain; version=")
    assert response.headers["access-control-allow-origin"] == "*"
    return {
        (sample.name, ",".join(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def test_requests_files_and_bytes_are_counted(place: Place) -> None:
    with Running(place, "--workers=2") as service:
        service.succeed("create_project", {"project": "p"})
        service.succeed("upload", upload_of(place.stage({"f": b"12345", "d/g": b"678"})))
        assert service.ask("upload", upload_of("missing")).status_code == 400
        assert service.ask("nonsense", {}).status_code == 400
        for _ in range(20):  # several connections, so both processes answer
            assert requests.get(f"{service.url}/fetch/p/a/1/f", timeout=30).content == b"12345"
        found = read(service)
        assert found["gobbler_requests_total", "create_project,success"] == 1
        assert found["gobbler_requests_total", "upload,success"] == 1
        assert found["gobbler_requests_total", "upload,refused"] == 1
        assert found["gobbler_requests_total", "unknown,refused"] == 1
        assert found["gobbler_request_duration_seconds_count", "upload"] == 2
        assert 0 < found["gobbler_request_duration_seconds_sum", "upload"] < 60
        phases = [found["gobbler_upload_phase_seconds_total", phase.value] for phase in Phase]
        *done, consuming = phases
        assert all(seconds > 0 for seconds in done)
        assert consuming == 0  # nothing was consumed
        assert sum(phases) < found["gobbler_request_duration_seconds_sum", "upload"]
        assert found["gobbler_processed_files_total", ""] == 2
        assert found["gobbler_processed_bytes_total", ""] == 8
        assert found["gobbler_http_responses_total", "fetch,2xx"] == 20
        assert found["gobbler_http_response_bytes_total", "fetch"] == 100
        assert found["gobbler_http_responses_total", "new,4xx"] == 2
        assert found["gobbler_http_in_flight", ""] == 1  # this one
        assert found["gobbler_requests_in_flight", ""] == 0
        assert found["gobbler_usable", "registry"] == 1
        assert found["gobbler_free_bytes", "registry"] > 0
        (version,) = (labels for name, labels in found if name == "gobbler_build_info")
        assert version


def test_jobs_are_counted_in_their_own_process(place: Place) -> None:
    with Running(place) as service:
        request = place.write_request("create_project", {"project": "p"})
        answer = requests.post(f"{service.url}/new/{request}?wait=false", timeout=30)
        assert answer.status_code == 202
        wait_for("it is counted", lambda: read(service)["gobbler_jobs_total", "success"] == 1)
        found = read(service)
        assert found["gobbler_requests_total", "create_project,success"] == 1
        wait_for("it is removed", lambda: read(service)["gobbler_spool_jobs", "running"] == 0)


def test_jobs_that_wait_are_shown(place: Place) -> None:
    with Running(place, "--jobs=0") as service:
        for name in ("a", "b"):
            request = place.write_request("create_project", {"project": name})
            requests.post(f"{service.url}/new/{request}?wait=false", timeout=30)
        assert read(service)["gobbler_spool_jobs", "waiting"] == 2


def test_a_process_that_dies_takes_no_count_with_it(place: Place) -> None:
    with Running(place, "--jobs=0") as service:
        service.succeed("create_project", {"project": "p"})
        before = service.processes() - {service.process.pid}
        for child in before:
            os.kill(child, signal.SIGKILL)
        wait_for("another answers", lambda: service._answers() and service.processes() - before)
        found = read(service)
        assert found["gobbler_requests_total", "create_project,success"] == 1
        assert found["gobbler_http_in_flight", ""] == 1


def test_cleanup_recovery_and_the_index_are_shown(place: Place) -> None:
    (place.top / "index").mkdir()
    with Running(place, f"--index={place.top}/index/i.db") as service:
        wait_for(
            "the index is updated",
            lambda: read(service)["gobbler_index_updates_total", "success"] >= 1,
        )
        wait_for(
            "cleanup ran",
            lambda: read(service)["gobbler_cleanup_last_run_timestamp_seconds", ""] > 1e9,
        )


def test_openmetrics(place: Place) -> None:
    with Running(place, "--jobs=0") as service:
        accept = {"accept": "application/openmetrics-text; version=1.0.0"}
        response = requests.get(f"{service.url}/metrics", headers=accept, timeout=30)
        assert response.headers["content-type"].startswith("application/openmetrics-text")
        names = {family.name for family in openmetrics_families(response.text)}
    assert {"gobbler_requests", "gobbler_request_duration_seconds", "gobbler_jobs"} <= names
