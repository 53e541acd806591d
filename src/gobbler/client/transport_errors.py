"""Errors of the libraries that speak HTTP, as errors of ours, in words."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from http import client

from requests import exceptions
from urllib3.exceptions import DecodeError, NewConnectionError, ReadTimeoutError

from gobbler.client.errors import BrokenOff, NoAnswer, NotConnected, TooSlow
from gobbler.client.service_url import not_a_url
from gobbler.errors import Code, GobblerError, quoted, shortened

NOT_A_SERVICE = "Is this the address of a Gobbler service, or of a proxy in front of it?"


@contextlib.contextmanager
def raising_ours(url: str) -> Iterator[None]:
    """Raise the errors of ``requests`` as ours; ``url`` names the service."""
    try:
        yield
    except GobblerError:
        raise  # ours already, though some are also what is caught below
    except (exceptions.InvalidURL, exceptions.InvalidSchema, exceptions.MissingSchema):
        raise not_a_url(url) from None
    except exceptions.Timeout:
        raise _too_slow(url) from None
    except exceptions.SSLError as error:
        raise NoAnswer(
            f"{url} can't be trusted: {_cause(error)}",
            code=Code.UNTRUSTED,
            hint="If your institution signed its certificate, set REQUESTS_CA_BUNDLE to the "
            "file with the certificates to trust.",
        ) from None
    except exceptions.ConnectionError as error:
        if any(isinstance(cause, ReadTimeoutError) for cause in _chain(error)):
            raise _too_slow(url) from None
        kind = NotConnected if _is_unconnected(error) else NoAnswer
        raise kind(
            f"no service answers at {url}: {_cause(error)}",
            hint="Check the address, and whether the service runs: gobbler info",
        ) from None
    except (exceptions.ChunkedEncodingError, exceptions.ContentDecodingError) as error:
        raise BrokenOff(
            f"the connection to {url} broke: {_cause(error)}", hint="Try again."
        ) from None
    except exceptions.TooManyRedirects:
        raise NoAnswer(
            f"{url} redirects in a circle", code=Code.INVALID_ANSWER, hint=NOT_A_SERVICE
        ) from None
    except exceptions.RequestException as error:
        raise NoAnswer(
            f"{url} can't be asked: {_cause(error)}", code=Code.INVALID_ANSWER, hint=NOT_A_SERVICE
        ) from None


def _is_unconnected(error: exceptions.ConnectionError) -> bool:
    """Whether no connection was made, to the service or to a proxy."""
    return any(isinstance(cause, NewConnectionError) for cause in _chain(error))


def _too_slow(url: str) -> TooSlow:
    return TooSlow(
        f"the service at {url} did not answer in time",
        hint="Try again later; ask the administrator of the service if it stays slow.",
    )


def _chain(error: BaseException) -> list[BaseException]:
    """``error`` and all that it wraps: as its cause, its reason, or among its arguments."""
    found: dict[int, BaseException] = {}
    pending: list[object] = [error]
    while pending:
        inner = pending.pop(0)
        if isinstance(inner, BaseException) and id(inner) not in found:
            found[id(inner)] = inner
            reason = getattr(inner, "reason", None)
            pending += [inner.__cause__, inner.__context__, reason, *inner.args]
    return list(found.values())


def _cause(error: BaseException) -> str:
    """What has happened: the libraries wrap it, and show what they wrap as Python code."""
    chain = _chain(error)
    for inner in chain:
        if isinstance(inner, OSError) and inner.strerror:
            return shortened(inner.strerror)
    for inner in chain:
        if (words := _in_words(inner)) is not None:
            return words
    deepest = chain[-1]
    text = deepest.args[0] if deepest.args and isinstance(deepest.args[0], str) else str(deepest)
    return shortened(text) or type(error).__name__


def _in_words(error: BaseException) -> str | None:
    if isinstance(error, client.IncompleteRead):
        return "the answer ended too early"
    if isinstance(error, client.RemoteDisconnected):
        return "the connection was closed without an answer"
    if isinstance(error, client.UnknownProtocol):
        return f"the answer is in the protocol {quoted(str(error.args[0]))}, not in HTTP/1.1"
    if isinstance(error, client.BadStatusLine):
        return f"the answer is no HTTP, it begins with {quoted(str(error.args[0]).strip())}"
    if isinstance(error, DecodeError):
        return "the answer is compressed, and damaged"
    return None
