"""What a client makes of an answer, and of the lack of one: values, or errors for people."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec
import requests
from requests import exceptions
from urllib3.exceptions import ReadTimeoutError

from gobbler.client.errors import BrokenOff, NoAnswer, TooSlow, error_from_answer, request_failed
from gobbler.errors import Code, GobblerError, Refused, quoted

T = TypeVar("T")


@contextlib.contextmanager
def translated(url: str) -> Iterator[None]:
    """Turn what ``requests`` raises into our errors, with reasons for people."""
    try:
        yield
    except GobblerError:
        raise  # ours already, though some are also what is caught below
    except (exceptions.InvalidURL, exceptions.InvalidSchema, exceptions.MissingSchema) as error:
        raise Refused(
            f"{quoted(url)} is not the address of a service: {error}",
            hint="Write it like http://gobbler.example.org:8080.",
        ) from error
    except exceptions.Timeout as error:
        raise TooSlow(f"the service at {url} did not answer in time") from error
    except exceptions.SSLError as error:
        raise NoAnswer(
            f"{url} can't be trusted: {_cause(error)}",
            hint="If its certificate is of your own institution, set REQUESTS_CA_BUNDLE to the "
            "file with the certificates to trust.",
        ) from error
    except exceptions.ConnectionError as error:
        if any(isinstance(cause, ReadTimeoutError) for cause in _chain(error)):
            raise TooSlow(f"the service at {url} did not answer in time") from error
        raise NoAnswer(
            f"no service answers at {url}: {_cause(error)}",
            hint="Check the address, and that the service is running.",
        ) from error
    except (exceptions.ChunkedEncodingError, exceptions.ContentDecodingError) as error:
        raise BrokenOff(f"the connection to {url} broke: {_cause(error)}") from error
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


def failure(response: requests.Response, method: str, url: str) -> Exception:
    """The error that a response other than 2xx stands for."""
    status = response.status_code
    content_type = response.headers.get("Content-Type", "").partition(";")[0].strip()
    with contextlib.suppress(msgspec.DecodeError, UnicodeError, RecursionError, KeyError):
        answer = msgspec.json.decode(response.content, type=dict[str, Any])
        msgspec.convert(answer["reason"], str)
        return error_from_answer(status, answer)
    said = f"HTTP {status} {response.reason or ''}".rstrip()
    if content_type == "text/plain" and response.text.strip():
        said += f", {response.text.strip()[:500]!r}"
    hint = ""
    if 300 <= status < 400 and "Location" in response.headers:
        hint = f"It points to {response.headers['Location']}; use that address of the service."
    elif content_type == "text/html":
        hint = "The answer is a web page: is this the service, or a proxy before it?"
    return request_failed(status, f"{method} {url} failed: {said}", hint=hint)


def decoded(response: requests.Response, kind: type[T], url: str) -> T:
    """The JSON of a response, as a ``kind``."""
    try:
        answer: T = msgspec.json.decode(response.content, type=kind)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        content_type = response.headers.get("Content-Type") or "an unnamed type"
        raise request_failed(
            500,
            f"the answer of {url} can't be read: {error} (its type is {content_type})",
            code=Code.INVALID_ANSWER,
            hint="Is this the address of a Gobbler service, or of a proxy before it?",
        ) from error
    return answer
