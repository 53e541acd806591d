"""Configuration files: their schema, where they are, and how to read one.

::

    default = "lab"                       # needed if there is more than one service
    cache = "/scratch/$USER/gobbler"

    [service.lab]
    url = "http://gobbler.example.org:8080"
    staging = "/data/staging"             # its path on this machine, else as the service says
    registry = "/data/registry"

``~`` and environment variables in paths are expanded.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any, ClassVar, NamedTuple

from gobbler.client.notices import StepFailed, notify_once
from gobbler.client.service_url import HINT, is_service_url, shown_url
from gobbler.client.user_directories import config_directory, expanded, unset_in
from gobbler.errors import Code, Refused, quoted

KEYS = {
    "default": "Name of the service to use unless you choose another.",
    "cache": "Directory for files that are fetched over HTTP.",
}
"""The settings of a file."""

SERVICE_KEYS = {
    "url": "Address of the service. Without it, requests go through the filesystem.",
    "staging": "Path of its staging directory on this machine. By default, the service says it.",
    "registry": "Path of its registry on this machine. By default, the service says it.",
}
"""The settings of a service."""

PATHS = ("cache", "staging", "registry")
"""Settings in which ``~`` and variables are expanded."""

_NAME = re.compile(r"[A-Za-z0-9_-]+")


class InvalidConfiguration(Refused):
    """A configuration file or a variable of the environment has a value that can't be used."""

    default_code: ClassVar[Code] = Code.INVALID_CONFIGURATION


@dataclass(frozen=True)
class ServiceTable:
    """The settings of a service in a file: its address, and the paths of its directories."""

    url: str | None = None
    staging: str | None = None
    registry: str | None = None


@dataclass(frozen=True)
class ConfigFile:
    """The settings in the file ``path``; ``text`` is its content."""

    path: str
    text: str
    default: str | None
    cache: str | None
    services: Mapping[str, ServiceTable]

    def place(self, key: str) -> str:
        """File and line of the top-level ``key``, for messages."""
        return f"{self.path}, line {_line(self.text, lambda found: key in found)}"


class ConfigProblem(NamedTuple):
    """A wrong setting: its place, the problem, and what to write instead."""

    where: str
    what: str
    hint: str


def _toml() -> ModuleType:
    """The parser, which is imported when there is a file."""
    return import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")


def parse_config(text: str, path: str, environment: Mapping[str, str]) -> ConfigFile:
    """Parse ``text``, the content of the file ``path``.

    Raises :class:`InvalidConfiguration`, which names the file and the line.
    """
    tomllib = _toml()
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        what, _, position = str(error).rstrip(")").rpartition(" (at ")
        line = re.match(r"line (\d+)", position)
        number = int(line[1]) if line else len(text.splitlines())
        raise InvalidConfiguration(
            f"{path}, line {number}: {what or error}",
            hint='Write the file in TOML, with text in quotes, like url = "http://...".',
        ) from None
    problem = find_problem(document, environment)
    if problem is not None:
        line_number = _line(text, lambda found: find_problem(found, environment) == problem)
        raise InvalidConfiguration(
            f"{path}, line {line_number}: {problem.where} {problem.what}", hint=problem.hint
        )
    services = {
        name: ServiceTable(
            url=_without_slash(table.get("url")),
            **{
                key: expanded_path(f"service.{name}.{key} of {path}", table.get(key), environment)
                for key in ("staging", "registry")
            },
        )
        for name, table in document.get("service", {}).items()
    }
    cache = expanded_path(f"cache of {path}", document.get("cache"), environment)
    return ConfigFile(path, text, document.get("default"), cache, services)


def _line(text: str, holds: Callable[[dict[str, Any]], bool]) -> int:
    """The number of the first line of ``text`` after which ``holds`` is true.

    TOML parsers do not report the lines of settings.
    """
    tomllib = _toml()
    lines = text.splitlines(keepends=True)
    for number in range(1, len(lines)):
        try:
            if holds(tomllib.loads("".join(lines[:number]))):
                return number
        except tomllib.TOMLDecodeError:
            continue  # in the middle of a value
    return max(1, len(lines))


def find_problem(
    document: Mapping[str, Any], environment: Mapping[str, str]
) -> ConfigProblem | None:
    """The first wrong setting in ``document``, the content of a file."""
    for key, value in document.items():
        if key == "service":
            if (found := _services_problem(value, environment)) is not None:
                return found
        elif key not in KEYS:
            return _unknown(quoted(key), [*KEYS, "service.NAME"])
        elif (found := _value_problem(key, key, value, environment)) is not None:
            return found
    return None


def _services_problem(services: object, environment: Mapping[str, str]) -> ConfigProblem | None:
    how = 'Write [service.lab], and url = "http://..." in the next line.'
    if not isinstance(services, dict):
        return ConfigProblem("service", "is not a table", how)
    for name, table in services.items():
        where = f"service.{name}"
        if not _NAME.fullmatch(name):
            return ConfigProblem(
                quoted(name), "is not a name for a service", "Use letters, digits, '-' and '_'."
            )
        if not isinstance(table, dict):
            return ConfigProblem(where, "is not a table", how)
        for key, value in table.items():
            if key not in SERVICE_KEYS:
                return _unknown(f"{where}.{key}", list(SERVICE_KEYS))
            found = _value_problem(f"{where}.{key}", key, value, environment)
            if found is not None:
                return found
    return None


def _unknown(what: str, known: list[str]) -> ConfigProblem:
    return ConfigProblem(what, "is not a setting", f"The settings are {', '.join(known)}.")


def _value_problem(
    where: str, key: str, value: object, environment: Mapping[str, str]
) -> ConfigProblem | None:
    if not isinstance(value, str) or not value:
        return ConfigProblem(where, "is not text", f'Write it like {key} = "...".')
    if key == "default":
        return None
    if key == "url":
        return _url_problem(where, value)
    path = expanded(value, environment)
    if not os.path.isabs(path) and not unset_in(path):
        return ConfigProblem(
            where,
            f"is not an absolute path: {quoted(value)}",
            "Start it with / or ~/.",
        )
    return None


def _url_problem(where: str, value: str) -> ConfigProblem | None:
    if is_service_url(value):
        return None
    what = f"is not the address of a service: {quoted(shown_url(value))}"
    return ConfigProblem(where, what, HINT)


def _without_slash(url: str | None) -> str | None:
    return None if url is None else url.rstrip("/")


def expanded_path(where: str, path: str | None, environment: Mapping[str, str]) -> str | None:
    """``path``, the setting ``where``, with all expanded.

    ``None`` if something in it is not set on this machine: then the setting does not count, and a
    warning says so.
    """
    if path is None:
        return None
    found = expanded(path, environment)
    if unset := unset_in(found):
        notify_once(f"{where} does not count: {quoted(unset)} in it is not set", StepFailed)
        return None
    return found


CONFIG_FILE = "gobbler/config.toml"
"""Path below a directory for configuration."""

SITE_DIRECTORY = "/etc"

MAX_CONFIG_BYTES = 1 << 20


def user_config(environment: Mapping[str, str]) -> str:
    """The path of the user's own file, which may be missing; empty if the user has none."""
    if given := environment.get("GOBBLER_CONFIG"):
        return expanded(given, environment)
    directory = config_directory()
    return "" if directory is None else os.path.join(directory, CONFIG_FILE)


def site_configs(environment: Mapping[str, str]) -> list[str]:
    """The paths of the files for all users, the nearest first; they may be missing."""
    if environment.get("GOBBLER_CONFIG"):
        return []
    directories = [d for d in environment.get("XDG_CONFIG_DIRS", "").split(":") if d]
    return [
        os.path.join(directory, CONFIG_FILE)
        for directory in dict.fromkeys([*directories, SITE_DIRECTORY])
    ]


def read_configs(environment: Mapping[str, str]) -> list[ConfigFile]:
    """Read the files that exist, the user's own first.

    Settings with variables that are not set here do not count, and a file that the user may not
    enter is no file; a warning says so. Raises :class:`InvalidConfiguration`, which names the file
    and the line.
    """
    paths = [user_config(environment), *site_configs(environment)]
    chosen = bool(environment.get("GOBBLER_CONFIG"))
    texts = {path: read_text(path, must_be_readable=chosen) for path in paths if path}
    found = [(path, text) for path, text in texts.items() if text is not None]
    if not found and (given := environment.get("GOBBLER_CONFIG")):
        raise InvalidConfiguration(
            f"GOBBLER_CONFIG names {given}, which does not exist",
            hint="Unset it, or create the file with: gobbler config set service.NAME.url URL",
        )
    return [parse_config(text, path, environment) for path, text in found]


def service_names(files: Iterable[ConfigFile]) -> list[str]:
    """The names of the services that the files describe."""
    return sorted({name for file in files for name in file.services})


def read_text(path: str, *, must_be_readable: bool = True) -> str | None:
    """The content of the file at ``path``; ``None`` if it is not there."""
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_CONFIG_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError as error:
        if must_be_readable:
            raise _unreadable(path, error) from None
        # Such as root's own one, after `sudo -u` or `setpriv` that keep $HOME.
        notify_once(f"the configuration file {path} can't be read: {error.strerror}", StepFailed)
        return None
    except OSError as error:
        raise _unreadable(path, error) from None
    if len(data) > MAX_CONFIG_BYTES:
        raise InvalidConfiguration(
            f"the configuration file {path} is larger than 1 MiB",
            hint="Is it the right file? See its path with: gobbler config path",
        )
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InvalidConfiguration(
            f"{path}, line {line}: not UTF-8", hint="Save the file as UTF-8."
        ) from None


def _unreadable(path: str, error: OSError) -> InvalidConfiguration:
    return InvalidConfiguration(
        f"the configuration file {path} can't be read: {error.strerror}",
        hint="Correct its permissions, or set GOBBLER_CONFIG to another file.",
    )
