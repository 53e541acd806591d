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
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO, TypeVar
from urllib.parse import quote, urlsplit

import msgspec
import requests
from requests import exceptions
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection
from urllib3.exceptions import ReadTimeoutError
from urllib3.util import Retry

from gobbler.client.errors import NoAnswer, TooSlow, request_failed
from gobbler.errors import Refused, quoted

T = TypeVar("T")

CONNECT_SECONDS = 10.0
READ_SECONDS = 120.0
"""How long a read may stay without a single byte before it is given up."""

CHUNK = 1 << 20
ATTEMPTS = 3
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
        total=ATTEMPTS - 1,
        backoff_factor=0.2,
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
        with self._open("GET", endpoint, params=params) as response:
            return _decode(response, kind, self.url + endpoint)

    def read(self, path: str) -> bytes:
        """The content of the registry's file ``path``, which should be a small one."""
        with self._open("GET", fetch_endpoint(path)) as response:
            return response.content

    def post(self, endpoint: str) -> dict[str, Any]:
        """The JSON answer to ``POST endpoint``, however long that takes."""
        with self._open("POST", endpoint, timeout=(CONNECT_SECONDS, None)) as response:
            return _decode(response, dict[str, Any], self.url + endpoint)

    def download(self, path: str, to: BinaryIO, progress: Callable[[int], None]) -> int:
        """Write the registry's file ``path`` into ``to``; answer its length in bytes.

        ``progress`` is told of every piece, in bytes (fewer than none when a broken
        transfer begins anew); what it raises ends the download. A body that is shorter
        than announced is :class:`~gobbler.client.errors.NoAnswer`, after some attempts.
        """
        start = to.tell()
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self._download_once(path, to, progress)
                break
            except NoAnswer:
                if attempt == ATTEMPTS:
                    raise
                progress(start - to.tell())
                to.seek(start)
                to.truncate()
        return to.tell() - start

    def _download_once(self, path: str, to: BinaryIO, progress: Callable[[int], None]) -> None:
        start = to.tell()
        with self._open("GET", fetch_endpoint(path), stream=True) as response:
            for chunk in response.iter_content(CHUNK):
                to.write(chunk)
                progress(len(chunk))
            announced = response.headers.get("Content-Length")
            encoded = response.headers.get("Content-Encoding", "identity") != "identity"
        got = to.tell() - start
        if announced is not None and not encoded and got != int(announced):
            raise NoAnswer(
                f"the download of {quoted(path)} ended after {got} of {announced} bytes",
                hint="The connection broke; try again.",
            )

    @contextlib.contextmanager
    def _open(self, method: str, endpoint: str, **options: Any) -> Iterator[requests.Response]:  # noqa: ANN401 - passed on
        options.setdefault("timeout", (CONNECT_SECONDS, READ_SECONDS))
        # A redirected POST would turn into a GET and seem to succeed.
        options["allow_redirects"] = method == "GET"
        with (
            _translated(self.url),
            _session(self._use_environment).request(
                method, self.url + endpoint, **options
            ) as response,
        ):
            if response.status_code >= 300:
                raise _failure(response, method, self.url + endpoint)
            yield response


def fetch_endpoint(path: str) -> str:
    """The endpoint of the registry's file ``path``, every component percent-encoded."""
    return "/fetch/" + quote(path, safe="/")


def _is_loopback(host: str) -> bool:
    if host in ("localhost", "0.0.0.0"):  # noqa: S104 - compared, not bound
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@contextlib.contextmanager
def _translated(url: str) -> Iterator[None]:
    """Turn what ``requests`` raises into our errors, with reasons for people."""
    try:
        yield
    except (exceptions.InvalidURL, exceptions.InvalidSchema, exceptions.MissingSchema) as error:
        raise Refused(
            f"{quoted(url)} is not the address of a service: {error}",
            hint="Write it like http://gobbler.example.org:8080.",
        ) from error
    except exceptions.Timeout as error:
        raise TooSlow(f"the service at {url} did not answer in time") from error
    except exceptions.ConnectionError as error:
        if any(isinstance(cause, ReadTimeoutError) for cause in _chain(error)):
            raise TooSlow(f"the service at {url} did not answer in time") from error
        raise NoAnswer(
            f"no service answers at {url}: {_cause(error)}",
            hint="Check the address, and that the service is running.",
        ) from error
    except (exceptions.ChunkedEncodingError, exceptions.ContentDecodingError) as error:
        raise NoAnswer(f"the connection to {url} broke: {_cause(error)}") from error
    except exceptions.TooManyRedirects as error:
        raise NoAnswer(f"{url} leads round in a circle of redirects") from error


def _chain(error: BaseException) -> Iterator[BaseException]:
    inner: BaseException | None = error
    while inner is not None:
        yield inner
        inner = inner.__cause__ or inner.__context__


def _cause(error: BaseException) -> str:
    """What the operating system said, at the bottom of what the libraries made of it."""
    for inner in _chain(error):
        if isinstance(inner, OSError) and inner.strerror:
            return inner.strerror
    return str(error) or type(error).__name__


def _failure(response: requests.Response, method: str, url: str) -> Exception:
    """The error that a response other than 2xx stands for."""
    status = response.status_code
    content_type = response.headers.get("Content-Type", "").partition(";")[0].strip()
    with contextlib.suppress(msgspec.DecodeError, UnicodeError, RecursionError, KeyError):
        answer = msgspec.json.decode(response.content, type=dict[str, Any])
        reason = msgspec.convert(answer.pop("reason"), str)
        answer.pop("status", None)
        return request_failed(status, reason, fields=answer)
    said = f"HTTP {status} {response.reason or ''}".rstrip()
    if content_type == "text/plain" and response.text.strip():
        said += f", {response.text.strip()[:500]!r}"
    hint = ""
    if 300 <= status < 400 and "Location" in response.headers:
        hint = f"It points to {response.headers['Location']}; use that address of the service."
    elif content_type == "text/html":
        hint = "The answer is a web page: is this the service, or a proxy before it?"
    return request_failed(status, f"{method} {url} failed: {said}", hint=hint)


def _decode(response: requests.Response, kind: type[T], url: str) -> T:
    try:
        answer: T = msgspec.json.decode(response.content, type=kind)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        content_type = response.headers.get("Content-Type") or "an unnamed type"
        raise request_failed(
            500,
            f"the answer of {url} can't be read: {error} (its type is {content_type})",
            hint="Is this the address of a Gobbler service, or of a proxy before it?",
        ) from error
    return answer
