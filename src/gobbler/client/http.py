"""The HTTP side of the protocol: one pool of connections, time limits, errors.

Reads are repeated a few times when the connection breaks. A ``POST`` is never repeated
once it may have reached the service, since it must be carried out at most once.
"""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import os
import socket
import time
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection
from urllib3.util import Retry

from gobbler.client.errors import BrokenOff
from gobbler.client.responses import decoded, failure, translated
from gobbler.client.retry import READ_ATTEMPTS, READ_PAUSE, read_pause

T = TypeVar("T")

CONNECT_SECONDS = 10.0
READ_SECONDS = 120.0
"""How long a read may stay without a single byte before it is given up."""

POOL_SIZE = 64

_KEEPALIVE = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4),
]


class _Adapter(HTTPAdapter):
    """Pooled connections that notice a host that has vanished during a long upload."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - passed on
        options = [*HTTPConnection.default_socket_options, *_KEEPALIVE]
        super().init_poolmanager(*args, socket_options=options, **kwargs)


@functools.cache
def _session(use_environment: bool) -> requests.Session:
    session = requests.Session()
    session.trust_env = use_environment
    # A file is wanted as it stands in the registry, and its length is checked.
    session.headers.update({"Accept-Encoding": "identity", "Accept": "application/json, */*"})
    retry = Retry(
        total=READ_ATTEMPTS - 1,
        backoff_factor=READ_PAUSE,
        allowed_methods=["GET", "HEAD"],
        status_forcelist=[502, 503, 504],
        raise_on_status=False,
        respect_retry_after_header=False,
    )
    adapter = _Adapter(pool_connections=8, pool_maxsize=POOL_SIZE, max_retries=retry)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


# Two processes must not speak over one connection.
os.register_at_fork(after_in_child=_session.cache_clear)


class Http:
    """A service at ``url``. Safe to share between threads; opens nothing by itself."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        # A proxy of the site can't know what runs on this machine.
        self._use_environment = not _is_loopback(urlsplit(self.url).hostname or "")

    def get(self, endpoint: str, kind: type[T], params: Mapping[str, str] | None = None) -> T:
        """The JSON answer to ``GET endpoint``, as a ``kind``."""
        response = self._whole(endpoint, params)
        return decoded(response, kind, self.url + endpoint)

    def read(self, path: str) -> bytes:
        """The content of the registry's file ``path``, which should be a small one."""
        return self._whole(fetch_endpoint(path)).content

    def _whole(self, endpoint: str, params: Mapping[str, str] | None = None) -> requests.Response:
        """The answer to ``GET endpoint`` with its body, asked for again if that breaks off."""
        for attempt in range(1, READ_ATTEMPTS):
            try:
                with self._open("GET", endpoint, params=params) as response:
                    return response
            except BrokenOff:
                time.sleep(read_pause(attempt))
        with self._open("GET", endpoint, params=params) as response:
            return response

    def post(self, endpoint: str) -> dict[str, Any]:
        """The JSON answer to ``POST endpoint``, however long that takes."""
        with self._open("POST", endpoint, timeout=(CONNECT_SECONDS, None)) as response:
            return decoded(response, dict[str, Any], self.url + endpoint)

    @contextlib.contextmanager
    def stream(
        self,
        endpoint: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        accept: tuple[int, ...] = (),
    ) -> Iterator[requests.Response]:
        """The answer to ``GET endpoint``, whose body is read within the block.

        ``accept`` are statuses from 300 on that are no error.
        """
        with self._open(
            "GET", endpoint, stream=True, params=params, headers=headers, accept=accept
        ) as response:
            yield response

    @contextlib.contextmanager
    def _open(
        self,
        method: str,
        endpoint: str,
        *,
        accept: tuple[int, ...] = (),
        **options: Any,  # noqa: ANN401 - passed on
    ) -> Iterator[requests.Response]:
        options.setdefault("timeout", (CONNECT_SECONDS, READ_SECONDS))
        # A redirected POST would turn into a GET and seem to succeed.
        options["allow_redirects"] = method == "GET"
        if not self._use_environment:
            options["verify"] = _certificates()
        with (
            translated(self.url),
            _session(self._use_environment).request(
                method, self.url + endpoint, **options
            ) as response,
        ):
            if response.status_code >= 300 and response.status_code not in accept:
                raise failure(response, method, self.url + endpoint)
            yield response


def fetch_endpoint(path: str) -> str:
    """The endpoint of the registry's file ``path``, every component percent-encoded."""
    return "/fetch/" + quote(path, safe="/")


def _certificates() -> str | bool:
    """What ``requests`` takes from the environment where that is asked for."""
    return os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True


def _is_loopback(host: str) -> bool:
    if host in ("localhost", "0.0.0.0"):  # noqa: S104 - compared, not bound
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
