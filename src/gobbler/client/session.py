"""Requests through ``requests``: whatever a direct connection does not do.

That is TLS, proxies of the environment, passwords in the address or in a ``.netrc``, and
redirections. See :mod:`gobbler.client.direct` for all others.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator, Mapping
from typing import Any

import requests
from requests import exceptions
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager, ProxyManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import NewConnectionError, ReadTimeoutError
from urllib3.util import Retry

from gobbler.client import errors
from gobbler.client.direct import (
    CONNECT_SECONDS,
    FREE_CONNECTIONS,
    HEADERS,
    KEEPALIVE,
    UNAVAILABLE,
)
from gobbler.client.patience import ArrivingResponse
from gobbler.client.retry import READ_ATTEMPTS, READ_PAUSE
from gobbler.client.service_url import not_a_url
from gobbler.client.transport_errors import (
    NOT_A_SERVICE,
    broken_off,
    cause,
    chain,
    no_answer,
    not_connected,
    too_slow,
)
from gobbler.errors import Code, GobblerError, shortened


class _Connection(HTTPConnection):
    response_class = ArrivingResponse


class _SecureConnection(HTTPSConnection):
    response_class = ArrivingResponse


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


def _limit_waiting(manager: PoolManager) -> None:
    """Demand a speed of all answers on new connections of ``manager``."""
    manager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}


class _Adapter(HTTPAdapter):
    """Pooled connections that notice when a host vanishes, or is as good as silent."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - passed on
        options = [*HTTPConnection.default_socket_options, *KEEPALIVE]
        super().init_poolmanager(*args, socket_options=options, **kwargs)
        _limit_waiting(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> ProxyManager:  # noqa: ANN401
        manager: ProxyManager = super().proxy_manager_for(*args, **kwargs)
        _limit_waiting(manager)
        return manager


@functools.cache
def _session(process: int, use_environment: bool) -> requests.Session:
    """The connections of one ``process``: two processes must not use one connection.

    A forked child keeps the session of its parent without using it: to close it, the child would
    need locks that threads of the parent may have held.
    """
    del process
    session = requests.Session()
    session.trust_env = use_environment
    session.headers.update(HEADERS)
    retry = Retry(
        total=READ_ATTEMPTS - 1,
        backoff_factor=READ_PAUSE,
        allowed_methods=["GET", "HEAD"],
        status_forcelist=UNAVAILABLE,
        raise_on_status=False,
        respect_retry_after_header=False,
    )
    adapter = _Adapter(pool_connections=8, pool_maxsize=FREE_CONNECTIONS, max_retries=retry)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


@contextlib.contextmanager
def answering(
    url: str,
    method: str,
    headers: Mapping[str, str] | None,
    *,
    use_environment: bool,
    seconds: float | None,
    shown: str,
) -> Iterator[requests.Response]:
    """The answer to a request for ``url``; read its body within the block.

    ``seconds``: how long to wait for each byte; ``shown`` names the service in messages. Without
    ``use_environment``, proxies and passwords in it do not count. Raises
    :class:`~gobbler.client.errors.NoAnswer`.
    """
    session = _session(os.getpid(), use_environment)
    with (
        _raising_ours(shown),
        _sent(
            session,
            method,
            url,
            shown,
            {
                "headers": headers,
                "timeout": (CONNECT_SECONDS, seconds),
                # A redirected POST would turn into a GET and seem to succeed.
                "allow_redirects": method == "GET",
                **({} if use_environment else {"verify": _certificates()}),
            },
        ) as response,
    ):
        yield response


def _certificates() -> str | bool:
    """The certificates that ``requests`` itself would take from the environment."""
    return os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True


def _sent(
    session: requests.Session, method: str, url: str, shown: str, options: dict[str, Any]
) -> requests.Response:
    """The answer to a request, whose body is not read yet."""
    try:
        return session.request(method, url, stream=True, **options)
    except exceptions.RequestException:
        raise
    except ValueError as error:  # urllib's own, for a redirection or a proxy
        raise errors.NoAnswer(
            f"{shown} redirects to what is no address, or a proxy has none: "
            f"{shortened(str(error))}",
            code=Code.INVALID_ANSWER,
            hint=NOT_A_SERVICE,
        ) from None


@contextlib.contextmanager
def _raising_ours(url: str) -> Iterator[None]:
    """Raise the errors of ``requests`` as ours; ``url`` names the service."""
    try:
        yield
    except GobblerError:
        raise  # ours already, though some are also what is caught below
    except (exceptions.InvalidURL, exceptions.InvalidSchema, exceptions.MissingSchema):
        raise not_a_url(url) from None
    except exceptions.Timeout:
        raise too_slow(url) from None
    except exceptions.SSLError as error:
        raise errors.NoAnswer(
            f"{url} can't be trusted: {cause(error)}",
            code=Code.UNTRUSTED,
            hint="If your institution signed its certificate, set REQUESTS_CA_BUNDLE to the "
            "file with the certificates to trust.",
        ) from None
    except exceptions.ConnectionError as error:
        if any(isinstance(inner, ReadTimeoutError) for inner in chain(error)):
            raise too_slow(url) from None
        # No connection was made, to the service or to a proxy.
        unconnected = any(isinstance(inner, NewConnectionError) for inner in chain(error))
        raise (not_connected if unconnected else no_answer)(url, error) from None
    except (exceptions.ChunkedEncodingError, exceptions.ContentDecodingError) as error:
        raise broken_off(url, error) from None
    except exceptions.TooManyRedirects:
        raise errors.NoAnswer(
            f"{url} redirects in a circle", code=Code.INVALID_ANSWER, hint=NOT_A_SERVICE
        ) from None
    except exceptions.RequestException as error:
        raise errors.NoAnswer(
            f"{url} can't be asked: {cause(error)}", code=Code.INVALID_ANSWER, hint=NOT_A_SERVICE
        ) from None
