"""Errors of the libraries that speak HTTP, as errors of ours, in words."""

from __future__ import annotations

import sys

from gobbler.client import errors
from gobbler.errors import quoted, shortened

NOT_A_SERVICE = "Is this the address of a Gobbler service, or of a proxy in front of it?"


def too_slow(url: str) -> errors.TooSlow:
    """The error for a service at ``url`` that does not answer in time."""
    return errors.TooSlow(
        f"the service at {url} did not answer in time",
        hint="Try again later; ask the administrator of the service if it stays slow.",
    )


def not_connected(url: str, error: BaseException) -> errors.NotConnected:
    """The error for a connection to ``url``, or to a proxy, that can't be made."""
    return errors.NotConnected(_unanswered(url, error), hint=_UNANSWERED)


def no_answer(url: str, error: BaseException) -> errors.NoAnswer:
    """The error for a connection to ``url`` that ended before an answer began."""
    return errors.NoAnswer(_unanswered(url, error), hint=_UNANSWERED)


_UNANSWERED = "Check the address, and whether the service runs: gobbler info"


def _unanswered(url: str, error: BaseException) -> str:
    return f"no service answers at {url}: {cause(error)}"


def broken_off(url: str, error: BaseException) -> errors.BrokenOff:
    """The error for a connection to ``url`` that broke in the middle of an answer."""
    return errors.BrokenOff(f"the connection to {url} broke: {cause(error)}", hint="Try again.")


def chain(error: BaseException) -> list[BaseException]:
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


def cause(error: BaseException) -> str:
    """What has happened: the libraries wrap it, and show what they wrap as Python code."""
    wrapped = chain(error)
    for inner in wrapped:
        if isinstance(inner, OSError) and inner.strerror:
            return shortened(inner.strerror)
    for inner in wrapped:
        if (words := _in_words(inner)) is not None:
            return words
    deepest = wrapped[-1]
    text = deepest.args[0] if deepest.args and isinstance(deepest.args[0], str) else str(deepest)
    return shortened(text) or type(error).__name__


def _in_words(error: BaseException) -> str | None:
    from http import client

    if isinstance(error, client.IncompleteRead):
        return "the answer ended too early"
    if isinstance(error, client.RemoteDisconnected):
        return "the connection was closed without an answer"
    if isinstance(error, client.UnknownProtocol):
        return f"the answer is in the protocol {quoted(str(error.args[0]))}, not in HTTP/1.1"
    if isinstance(error, client.BadStatusLine):
        return f"the answer is no HTTP, it begins with {quoted(str(error.args[0]).strip())}"
    loaded = sys.modules.get("urllib3.exceptions")
    if loaded is not None and isinstance(error, loaded.DecodeError):
        return "the answer is compressed, and damaged"
    return None
