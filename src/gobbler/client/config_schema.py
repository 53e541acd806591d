"""Configuration files: which services there are, and which is used by default.

::

    default = "lab"                       # needed where there is more than one service
    cache = "/scratch/$USER/gobbler"

    [service.lab]
    url = "http://gobbler.example.org:8080"
    staging = "/data/staging"             # as it is mounted here; else the service is asked
    registry = "/data/registry"

In paths ``~`` and environment variables are replaced.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple
from urllib.parse import urlsplit

from gobbler.errors import Code, Refused, quoted

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

KEYS = {
    "default": "Name of the service that is used unless another one is chosen.",
    "cache": "Directory for what is fetched over HTTP.",
}
"""Settings of a file, and what they mean."""

SERVICE_KEYS = {
    "url": "Address of the service. Without it requests go through the filesystem alone.",
    "staging": "Its staging directory as it is mounted here. If absent the service is asked.",
    "registry": "Its registry as it is mounted here. If absent the service is asked.",
}
"""Settings of a service, and what they mean."""

_NAME = re.compile(r"[A-Za-z0-9_-]+")


class InvalidConfiguration(Refused):
    """A configuration file or a variable of the environment has a value that can't be used."""

    default_code: ClassVar[Code] = Code.INVALID_CONFIGURATION


@dataclass(frozen=True)
class Service:
    """How to reach a service: its address, and its directories as they are mounted here."""

    url: str | None = None
    staging: str | None = None
    registry: str | None = None


@dataclass(frozen=True)
class Configuration:
    """What the file ``path`` says; ``text`` is its content."""

    path: str
    text: str
    default: str | None
    cache: str | None
    services: Mapping[str, Service]

    def place(self, key: str) -> str:
        """Where the top-level ``key`` stands, for people."""
        return f"{self.path}, line {_line(self.text, lambda found: key in found)}"


class Problem(NamedTuple):
    """What is wrong: with which setting, in which way, and what to write instead."""

    where: str
    what: str
    hint: str


def decode(text: str, path: str, environment: Mapping[str, str]) -> Configuration:
    """The configuration that ``text``, the content of the file ``path``, writes.

    Raises :class:`InvalidConfiguration` that names the file and the line.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        what, _, position = str(error).rstrip(")").rpartition(" (at ")
        line = re.match(r"line (\d+)", position)
        number = int(line[1]) if line else len(text.splitlines())
        raise InvalidConfiguration(
            f"{path}, line {number}: {what or error}",
            hint='The file must be TOML; text stands in quotes, like url = "http://...".',
        ) from None
    problem = find_problem(document, environment)
    if problem is not None:
        line_number = _line(text, lambda found: find_problem(found, environment) == problem)
        raise InvalidConfiguration(
            f"{path}, line {line_number}: {problem.where} {problem.what}", hint=problem.hint
        )
    services = {
        name: Service(
            url=_address(table.get("url")),
            staging=_path(table.get("staging"), environment),
            registry=_path(table.get("registry"), environment),
        )
        for name, table in document.get("service", {}).items()
    }
    cache = _path(document.get("cache"), environment)
    return Configuration(path, text, document.get("default"), cache, services)


def _line(text: str, holds: Callable[[dict[str, Any]], bool]) -> int:
    """The first line of ``text`` after which ``holds``; TOML readers don't tell."""
    lines = text.splitlines(keepends=True)
    for number in range(1, len(lines)):
        try:
            if holds(tomllib.loads("".join(lines[:number]))):
                return number
        except tomllib.TOMLDecodeError:
            continue  # cut in the middle of a value
    return max(1, len(lines))


def find_problem(document: Mapping[str, Any], environment: Mapping[str, str]) -> Problem | None:
    """The first thing that is wrong with ``document``, the content of a file."""
    for key, value in document.items():
        if key == "service":
            if (found := _services_problem(value, environment)) is not None:
                return found
        elif key not in KEYS:
            return _unknown(quoted(key), [*KEYS, "service.NAME"])
        elif (found := _value_problem(key, key, value, environment)) is not None:
            return found
    return None


def _services_problem(services: object, environment: Mapping[str, str]) -> Problem | None:
    how = 'Write it like [service.lab] with url = "http://..." below.'
    if not isinstance(services, dict):
        return Problem("service", "is not a table", how)
    for name, table in services.items():
        where = f"service.{name}"
        if not _NAME.fullmatch(name):
            return Problem(
                quoted(name), "can't name a service", "Use letters, digits, '-' and '_'."
            )
        if not isinstance(table, dict):
            return Problem(where, "is not a table", how)
        for key, value in table.items():
            if key not in SERVICE_KEYS:
                return _unknown(f"{where}.{key}", list(SERVICE_KEYS))
            found = _value_problem(f"{where}.{key}", key, value, environment)
            if found is not None:
                return found
    return None


def _unknown(what: str, known: list[str]) -> Problem:
    return Problem(what, "is not a setting", f"The settings are {', '.join(known)}.")


def _value_problem(
    where: str, key: str, value: object, environment: Mapping[str, str]
) -> Problem | None:
    if not isinstance(value, str) or not value:
        return Problem(where, "is not text", f'Write it like {key} = "...".')
    if key == "default":
        return None
    if key == "url":
        return _url_problem(where, value)
    path = _expanded(value, environment)
    if not os.path.isabs(path) or re.search(r"\$\w|\$\{", path):
        return Problem(
            where,
            f"is not an absolute path: {quoted(value)}",
            "Let it start with / or ~/; variables in it must be set.",
        )
    return None


def _url_problem(where: str, value: str) -> Problem | None:
    try:
        parts = urlsplit(value)
        if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            return None
    except ValueError:  # a port that is no number
        pass
    return Problem(
        where,
        f"is not the address of a service: {quoted(value)}",
        "Write it like http://gobbler.example.org:8080.",
    )


def _address(url: str | None) -> str | None:
    return None if url is None else url.rstrip("/")


def _path(path: str | None, environment: Mapping[str, str]) -> str | None:
    return None if path is None else _expanded(path, environment)


def _expanded(path: str, environment: Mapping[str, str]) -> str:
    """``path`` with what it names of the environment put in; what is not set stays."""
    text = re.sub(
        r"\$(?:(\w+)|\{(\w+)\})",
        lambda found: environment.get(found[1] or found[2], found[0]),
        path,
    )
    home = environment.get("HOME")
    if home and (text == "~" or text.startswith("~/")):
        return home + text[1:]
    return os.path.expanduser(text)
