"""Where configuration files are; reading them, and changing one without losing comments."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Mapping
from typing import Any

import platformdirs

from gobbler.client.config_schema import (
    KEYS,
    SERVICE_KEYS,
    Configuration,
    InvalidConfiguration,
    decode,
    find_problem,
)
from gobbler.client.resolve import names
from gobbler.errors import Fault, Forbidden, Missing, Refused, quoted

FILE = "gobbler/config.toml"
"""Below a directory for configuration."""

SITE = "/etc"

MAX_BYTES = 1 << 20


def users_file(environment: Mapping[str, str]) -> str:
    """The file that the user may change, which need not be there."""
    given = environment.get("GOBBLER_CONFIG")
    return given or os.path.join(platformdirs.user_config_dir(), FILE)


def site_files(environment: Mapping[str, str]) -> list[str]:
    """The files for all users, the nearest first; they need not be there."""
    if environment.get("GOBBLER_CONFIG"):
        return []
    directories = [d for d in environment.get("XDG_CONFIG_DIRS", "").split(":") if d]
    return [os.path.join(directory, FILE) for directory in dict.fromkeys([*directories, SITE])]


def read_all(environment: Mapping[str, str]) -> list[Configuration]:
    """The files that are there, the user's first.

    Raises :class:`~gobbler.client.config_schema.InvalidConfiguration` that names
    file and line.
    """
    paths = [users_file(environment), *site_files(environment)]
    found = [(path, text) for path in paths if (text := _text(path)) is not None]
    if not found and (given := environment.get("GOBBLER_CONFIG")):
        raise InvalidConfiguration(
            f"GOBBLER_CONFIG names {given}, which does not exist",
            hint="Unset it, or make the file with: gobbler config set service.NAME.url URL",
        )
    return [decode(text, path, environment) for path, text in found]


def _text(path: str) -> str | None:
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise InvalidConfiguration(
            f"the configuration file {path} can't be read: {error.strerror}",
            hint="Mend its permissions, or name another file with GOBBLER_CONFIG.",
        ) from None
    if len(data) > MAX_BYTES:
        raise InvalidConfiguration(f"the configuration file {path} is larger than 1 MiB")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InvalidConfiguration(
            f"{path}, line {line}: it is not UTF-8", hint="Save the file as UTF-8."
        ) from None


def set_value(path: str, key: str, value: str, environment: Mapping[str, str]) -> None:
    """Write ``value`` for ``key``, such as ``service.lab.url``, into the file ``path``.

    Raises :class:`~gobbler.errors.Refused` for what could not be read again, and
    :class:`~gobbler.errors.Missing` for a default service that no file tells of.
    """
    service, name = _split(key)
    if key == "default" and value not in (known := names(read_all(environment))):
        raise Missing(
            f"there is no service {quoted(value)} in the configuration",
            hint=f"Known are: {', '.join(known) or 'none'}.",
        )

    def change(document: Any) -> None:  # noqa: ANN401 - tomlkit's types are of no help
        import tomlkit  # noqa: PLC0415 - only who changes a file need wait for it

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
            raise Missing(f"{quoted(key)} is not set in {path}", hint="See: gobbler config show")
        del tables[-1][parts[-1]]
        for i in range(len(parts) - 2, -1, -1):
            if not tables[i + 1]:
                del tables[i][parts[i]]

    _edit(path, change, environment)


def _split(key: str) -> tuple[str, str]:
    """The service, which may be empty, and the setting that ``key`` names."""
    parts = key.split(".")
    if len(parts) == 1 and key in KEYS:
        return "", key
    if len(parts) == 3 and parts[0] == "service" and parts[2] in SERVICE_KEYS:
        return parts[1], parts[2]
    known = [*KEYS, *(f"service.NAME.{name}" for name in SERVICE_KEYS)]
    raise Refused(f"{quoted(key)} is not a setting", hint=f"The settings are {', '.join(known)}.")


def _edit(path: str, change: Callable[[Any], None], environment: Mapping[str, str]) -> None:
    import tomlkit  # noqa: PLC0415 - only who changes a file need wait for it

    text = _text(path) or ""
    decode(text, path, environment)  # what is wrong already must be mended by its author
    document = tomlkit.parse(text)
    change(document)
    if (problem := find_problem(document.unwrap(), environment)) is not None:
        raise Refused(f"{problem.where} {problem.what}", hint=problem.hint)
    try:
        _write(os.path.realpath(path), tomlkit.dumps(document).encode())
    except PermissionError:
        raise Forbidden(f"you can't write {path}", hint="It belongs to somebody else.") from None
    except OSError as error:
        raise Fault(f"{path} can't be written: {error.strerror}") from None


def _write(path: str, data: bytes) -> None:
    """Put ``data`` at ``path``, whole or not at all, with the mode of what was there."""
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
