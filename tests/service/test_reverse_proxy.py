"""The reverse proxy that the guide for administrators shows, with TLS before a real service."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from gobbler.client import Client, NoAnswer
from gobbler.client.testing import ReservedPort

from .documented import ROOT, examples
from .processes import Place, Running, wait_for

SELF_SIGNED = (
    *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
    *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
)

PATH = ":/usr/sbin:/usr/local/sbin"


@pytest.fixture
def proxied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address, at the proxy, of a service below a prefix."""
    nginx = shutil.which("nginx", path=f"/usr/bin{PATH}")
    if nginx is None or shutil.which("openssl") is None:
        pytest.skip("needs nginx and openssl")
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        [*SELF_SIGNED, "-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
    )
    [shown] = [e.code for e in examples(ROOT / "docs/administrators.md") if e.kind == "nginx"]
    with (
        ReservedPort() as port,
        Running(Place(tmp_path), "--prefix=data", prefix="/data") as service,
    ):
        for written, meant in {
            "443 ssl": f"{port.number} ssl",
            "gobbler.example.org;": "localhost;",
            "/etc/ssl/gobbler.example.org.pem": str(certificate),
            "/etc/ssl/gobbler.example.org.key": str(key),
            "http://127.0.0.1:8080": service.root,
            "location /": "location /data",
        }.items():
            assert shown.count(written) == 1
            shown = shown.replace(written, meant)
        places = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        temporary = "".join(f"{place}_temp_path {tmp_path / place};\n" for place in places)
        (tmp_path / "nginx.conf").write_text(
            f"daemon off; pid {tmp_path}/pid; error_log {tmp_path}/error.log;\n"
            f"events {{}}\nhttp {{\naccess_log off;\n{temporary}{shown}}}\n"
        )
        command = [nginx, "-e", f"{tmp_path}/error.log", "-c", tmp_path / "nginx.conf"]
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        url = f"https://localhost:{port.number}/data"
        with subprocess.Popen(command) as running:
            wait_for("nginx", lambda: _answers(url, certificate))
            yield url
            running.terminate()


def _answers(url: str, certificate: Path) -> bool:
    try:
        return requests.get(f"{url}/info", verify=certificate, timeout=5).ok
    except requests.ConnectionError:
        return False


def test_everything_works_through_it(proxied: str, tmp_path: Path) -> None:
    client = Client(proxied, cache=tmp_path / "cache", force_remote=True)
    client.admin.create_project("p")
    source = tmp_path / "source"
    source.mkdir()
    for number in range(100):
        (source / str(number)).write_text(f"{number}")
    with (source / "large").open("wb") as file:
        file.truncate(30_000_000)
    job = client.submit("p", "a", "1", source)
    job.wait()
    assert job.progress()[0] == job.progress()[1]
    fetched = Path(client.version("p", "a", "1").fetch())
    assert (fetched / "99").read_text() == "99"
    assert (fetched / "large").stat().st_size == 30_000_000
    part = requests.get(f"{proxied}/fetch/p/a/1/large", headers={"Range": "bytes=7-9"}, timeout=60)
    assert (part.status_code, part.content) == (206, b"\0\0\0")
    assert client.admin.validate_version("p", "a", "1") is None


def test_a_certificate_that_nobody_trusts(proxied: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    with pytest.raises(NoAnswer, match="can't be trusted") as caught:
        Client(proxied).info()
    assert "REQUESTS_CA_BUNDLE" in caught.value.hint
