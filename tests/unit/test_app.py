"""The application answers what needs no filesystem, whatever hangs."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from gobbler.service.app import READ_THREADS, Application
from gobbler.service.metrics import exposition
from gobbler.service.registry_files import RegistryFiles
from gobbler.service.settings import Settings, check_directories

from .asking import got


@pytest.fixture
def application(tmp_path: Path) -> Application:
    (tmp_path / "staging").mkdir()
    (tmp_path / "staging").chmod(0o1733)
    (tmp_path / "registry").mkdir(mode=0o755)
    settings = Settings(f"{tmp_path}/staging", f"{tmp_path}/registry", frozenset())
    check_directories(settings)
    return Application(settings)


async def get(application: Application, path: str) -> tuple[int, dict[str, Any]]:
    """Status and JSON of an answer."""
    answer = await got(application, path)
    return answer.status, json.loads(answer.body)


def test_info_answers_while_every_reading_thread_waits_for_a_dead_mount(
    application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()
    waiting = threading.Semaphore(0)
    real = RegistryFiles.open

    def hang(files: RegistryFiles, path: str) -> int:
        waiting.release()
        assert release.wait(30)
        return real(files, path)

    monkeypatch.setattr(RegistryFiles, "open_cached", lambda *_: None)
    monkeypatch.setattr(RegistryFiles, "open", hang)

    async def run() -> None:
        fetches = [
            asyncio.create_task(get(application, "/fetch/p/a/1/f")) for _ in range(READ_THREADS + 8)
        ]
        for _ in range(READ_THREADS):
            while not waiting.acquire(blocking=False):
                await asyncio.sleep(0.001)
        for path, status in (("/info", 200), ("/", 200), ("/openapi.json", 200), ("/x", 404)):
            assert (await asyncio.wait_for(get(application, path), 5))[0] == status
        release.set()
        for status, answer in await asyncio.gather(*fetches):
            assert (status, answer["code"]) == (404, "file-not-found")

    asyncio.run(run())


def test_unknown_addresses_are_quoted_short_and_never_redirected(application: Application) -> None:
    for path in ("/fetch", "/archive", "/new", "/info/", "/jobs/", "*", "/" + "x" * 60_000):
        status, answer = asyncio.run(get(application, path))
        assert status == 404
        assert len(answer["reason"]) < 300


def test_hundreds_who_ask_for_metrics_share_a_text_and_leave_the_event_loop_alone(
    application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    makers: list[str] = []
    real = exposition.exposition

    def counted(*arguments: Any) -> tuple[bytes, str]:
        makers.append(threading.current_thread().name)
        return real(*arguments)

    async def read(accept: str) -> tuple[int, str]:
        answer = await got(application, "/metrics", headers={"accept": accept})
        return answer.status, answer.headers["content-type"]

    async def run() -> set[tuple[int, str]]:
        kinds = ["*/*", "application/openmetrics-text;version=1;escaping=x"]
        return set(await asyncio.gather(*(read(kinds[i % 2]) for i in range(200))))

    monkeypatch.setattr(exposition, "exposition", counted)
    assert {(status, kind.split(";")[0]) for status, kind in asyncio.run(run())} == {
        (200, "text/plain"),
        (200, "application/openmetrics-text"),
    }
    assert len(makers) <= 4
    assert threading.current_thread().name not in makers
