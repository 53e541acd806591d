"""Configuration files: their schema, where they are, and how to read and change one.

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
import secrets
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple
from urllib.parse import urlsplit

import platformdirs

from gobbler.errors import Code, Fault, Forbidden, Missing, Refused, os_error_code, quoted

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

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


def parse_config(text: str, path: str, environment: Mapping[str, str]) -> ConfigFile:
    """Parse ``text``, the content of the file ``path``.

    Raises :class:`InvalidConfiguration`, which names the file and the line.
    """
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
            staging=_expanded_path(table.get("staging"), environment),
            registry=_expanded_path(table.get("registry"), environment),
        )
        for name, table in document.get("service", {}).items()
    }
    cache = _expanded_path(document.get("cache"), environment)
    return ConfigFile(path, text, document.get("default"), cache, services)


def _line(text: str, holds: Callable[[dict[str, Any]], bool]) -> int:
    """The number of the first line of ``text`` after which ``holds`` is true.

    TOML parsers do not report the lines of settings.
    """
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
    path = _expanded(value, environment)
    if not os.path.isabs(path) or re.search(r"\$\w|\$\{", path):
        return ConfigProblem(
            where,
            f"is not an absolute path: {quoted(value)}",
            "Start it with / or ~/. Variables in it must be set.",
        )
    return None


def _url_problem(where: str, value: str) -> ConfigProblem | None:
    try:
        parts = urlsplit(value)
        if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            return None
    except ValueError:  # a port that is not a number
        pass
    return ConfigProblem(
        where,
        f"is not the address of a service: {quoted(value)}",
        "Write it like http://gobbler.example.org:8080.",
    )


def _without_slash(url: str | None) -> str | None:
    return None if url is None else url.rstrip("/")


def _expanded_path(path: str | None, environment: Mapping[str, str]) -> str | None:
    return None if path is None else _expanded(path, environment)


def _expanded(path: str, environment: Mapping[str, str]) -> str:
    """``path`` with ``~`` and variables expanded; a variable that is not set stays as it is."""
    text = re.sub(
        r"\$(?:(\w+)|\{(\w+)\})",
        lambda found: environment.get(found[1] or found[2], found[0]),
        path,
    )
    home = environment.get("HOME")
    if home and (text == "~" or text.startswith("~/")):
        return home + text[1:]
    return os.path.expanduser(text)


CONFIG_FILE = "gobbler/config.toml"
"""Path below a directory for configuration."""

SITE_DIRECTORY = "/etc"

MAX_CONFIG_BYTES = 1 << 20


def user_config(environment: Mapping[str, str]) -> str:
    """The path of the user's own file, which may be missing."""
    given = environment.get("GOBBLER_CONFIG")
    return given or os.path.join(platformdirs.user_config_dir(), CONFIG_FILE)


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

    Raises :class:`InvalidConfiguration`, which names the file and the line.
    """
    paths = [user_config(environment), *site_configs(environment)]
    found = [(path, text) for path in paths if (text := _text(path)) is not None]
    if not found and (given := environment.get("GOBBLER_CONFIG")):
        raise InvalidConfiguration(
            f"GOBBLER_CONFIG names {given}, which does not exist",
            hint="Unset it, or create the file with: gobbler config set service.NAME.url URL",
        )
    return [parse_config(text, path, environment) for path, text in found]


def service_names(files: Iterable[ConfigFile]) -> list[str]:
    """The names of the services that the files describe."""
    return sorted({name for file in files for name in file.services})


def _text(path: str) -> str | None:
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_CONFIG_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise InvalidConfiguration(
            f"the configuration file {path} can't be read: {error.strerror}",
            hint="Correct its permissions, or set GOBBLER_CONFIG to another file.",
        ) from None
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


def set_value(path: str, key: str, value: str, environment: Mapping[str, str]) -> None:
    """Write ``value`` for ``key``, such as ``service.lab.url``, into the file ``path``.

    Raises :class:`~gobbler.errors.Refused` for a key or value that is not valid, and
    :class:`~gobbler.errors.Missing` for a default service that no file describes.
    """
    service, name = _split(key)
    if key == "default" and value not in (known := service_names(read_configs(environment))):
        reason = f"there is no service {quoted(value)} in the configuration"
        hint = f"Known are: {', '.join(known) or 'none'}."
        raise Missing(reason, code=Code.SERVICE_NOT_FOUND, hint=hint)

    def change(document: Any) -> None:  # noqa: ANN401 - tomlkit's types are of no help
        import tomlkit  # noqa: PLC0415 - slow to import, and rarely needed

        if not service:
            document[name] = value
            return
        if "service" not in document:
            document["service"] = tomlkit.table(is_super_table=True)
        if service not in document["service"]:
            document["service"][service] = tomlkit.table()
        document["service"][service][name] = value

    _edit(path, change, environment)


def unset_value(path: str, key: str, environment: Mapping[str, str]) -> None:
    """Remove ``key``, or the whole service ``service.NAME``, from the file ``path``.

    Raises :class:`~gobbler.errors.Missing` if it is not there.
    """
    parts = key.split(".")
    if not (len(parts) == 2 and parts[0] == "service"):
        _split(key)

    def change(document: Any) -> None:  # noqa: ANN401
        tables = [document]
        for part in parts[:-1]:
            tables.append(tables[-1].get(part, {}))
        if parts[-1] not in tables[-1]:
            hint = "See what is set with: gobbler config show"
            raise Missing(f"{quoted(key)} is not set in {path}", hint=hint)
        del tables[-1][parts[-1]]
        for i in range(len(parts) - 2, -1, -1):
            if not tables[i + 1]:
                del tables[i][parts[i]]

    _edit(path, change, environment)


def _split(key: str) -> tuple[str, str]:
    """The service (empty for a top-level setting) and the setting that ``key`` names."""
    parts = key.split(".")
    if len(parts) == 1 and key in KEYS:
        return "", key
    if len(parts) == 3 and parts[0] == "service" and parts[2] in SERVICE_KEYS:
        return parts[1], parts[2]
    known = [*KEYS, *(f"service.NAME.{name}" for name in SERVICE_KEYS)]
    raise Refused(f"{quoted(key)} is not a setting", hint=f"The settings are {', '.join(known)}.")


def _edit(path: str, change: Callable[[Any], None], environment: Mapping[str, str]) -> None:
    import tomlkit  # noqa: PLC0415 - slow to import, and rarely needed

    text = _text(path) or ""
    parse_config(text, path, environment)  # a file that is wrong already stays as it is
    document = tomlkit.parse(text)
    change(document)
    if (problem := find_problem(document.unwrap(), environment)) is not None:
        raise Refused(f"{problem.where} {problem.what}", hint=problem.hint)
    try:
        _write(os.path.realpath(path), tomlkit.dumps(document).encode())
    except PermissionError:
        hint = "Set GOBBLER_CONFIG to a file that you can write."
        raise Forbidden(f"you can't write {path}", code=Code.UNWRITABLE, hint=hint) from None
    except OSError as error:
        hint = "Free some space, or set GOBBLER_CONFIG to another file."
        reason = f"could not write {path}: {error.strerror}"
        raise Fault(reason, code=os_error_code(error), hint=hint) from None


def _write(path: str, data: bytes) -> None:
    """Replace ``path`` by ``data``, whole or not at all; it keeps its mode."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    beside = f"{path}.{secrets.token_hex(6)}"
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with open(descriptor, "wb") as file:
            if os.path.exists(path):
                os.fchmod(descriptor, os.stat(path).st_mode & 0o777)
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        os.rename(beside, path)
    except BaseException:
        os.unlink(beside)
        raise
