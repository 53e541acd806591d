"""The address of a service: a URL, which may hold a user and a password for a proxy.

The secrets go to the proxy and nowhere else: messages, names of directories and what commands
print show the address without them.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from gobbler.errors import Code, Refused, quoted

HINT = "Write it like http://gobbler.example.org:8080."

HIDDEN = "***"

_UNSAFE = re.compile(r"[\s\x00-\x1f\x7f-\x9f\ud800-\udfff\\]")


def is_service_url(url: str) -> bool:
    """Whether ``url`` can be the address of a service."""
    if _UNSAFE.search(url):
        return False
    try:
        parts = urlsplit(url)
        port = parts.port
        host = parts.hostname or ""
        host.encode("idna")
    except ValueError:  # a port that is no number, brackets around no address, an odd host
        return False
    return (
        parts.scheme in ("http", "https")
        and host not in ("", ".")
        and port != 0
        and not (parts.query or parts.fragment)
    )


def check_url(url: str) -> str:
    """``url`` without a slash at its end.

    Raises :class:`~gobbler.errors.Refused` if it can't be the address of a service.
    """
    if not is_service_url(url):
        raise not_a_url(url)
    return url.rstrip("/")


def not_a_url(url: str) -> Refused:
    """The error for what is not the address of a service."""
    return Refused(
        f"{quoted(shown_url(url))} is not the address of a service",
        code=Code.INVALID_ADDRESS,
        hint=HINT,
    )


def shown_url(url: str) -> str:
    """``url`` as it may be shown: user and password are hidden, also in what is no URL."""
    before, at, host = url.rpartition("@")
    if not at:
        return url
    scheme, separator, _ = before.partition("://")
    return f"{scheme}{separator}{HIDDEN}@{host}" if separator else f"{HIDDEN}@{host}"


def without_secrets(url: str) -> str:
    """``url`` without user and password: what is the same service whoever asks it."""
    return shown_url(url).replace(f"{HIDDEN}@", "", 1)


def is_loopback(url: str) -> bool:
    """Whether the service at ``url`` runs on this machine."""
    host = urlsplit(url).hostname or ""
    if host in ("localhost", "0.0.0.0"):  # noqa: S104 - compared, not bound
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
