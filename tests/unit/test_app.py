"""The application answers what needs no filesystem, whatever hangs."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from gobbler.service.app import READ_THREADS, Application
from gobbler.service.registry_files import RegistryFiles
from gobbler.service.settings import Settings, check_directories


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
    sent: list[Any] = []

    async def receive() -> Any:
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [],
    }
    await application(scope, receive, send)
    return sent[0]["status"], json.loads(b"".join(m.get("body", b"") for m in sent[1:]))


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
