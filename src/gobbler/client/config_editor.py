"""Change a configuration file, and keep its comments."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Mapping
from typing import Any

from gobbler.client.config import (
    KEYS,
    PATHS,
    SERVICE_KEYS,
    find_problem,
    parse_config,
    read_configs,
    read_text,
    service_names,
)
from gobbler.client.optional_step import optional_step
from gobbler.client.user_directories import expanded, unset_in
from gobbler.errors import Code, Fault, Forbidden, Missing, Refused, os_error_code, quoted


def set_value(path: str, key: str, value: str, environment: Mapping[str, str]) -> None:
    """Write ``value`` for ``key``, such as ``service.lab.url``, into the file ``path``.

    Raises :class:`~gobbler.errors.Refused` for a key or value that is not valid, and
    :class:`~gobbler.errors.Missing` for a default service that no file describes.
    """
    service, name = _split(key)
    if not value.isprintable():
        raise Refused(f"the value for {key} has characters that can't be printed: {quoted(value)}")
    if unset := name in PATHS and unset_in(expanded(value, environment)):
        raise Refused(f"{key}: {quoted(unset)} is not set", hint="Variables in a path must be set.")
    if key == "default" and value not in (known := service_names(read_configs(environment))):
        reason = f"there is no service {quoted(value)} in the configuration"
        hint = f"Known are: {', '.join(known) or 'none'}."
        raise Missing(reason, code=Code.SERVICE_NOT_FOUND, hint=hint)

    def change(document: Any) -> None:  # noqa: ANN401 - tomlkit's types are of no help
        import tomlkit

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
    import tomlkit

    text = read_text(path) or ""
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
                with optional_step("keep the mode of the file"):
                    os.fchmod(descriptor, os.stat(path).st_mode & 0o777)
            file.write(data)
            file.flush()
            with optional_step("flush the file"):
                os.fsync(descriptor)
        os.rename(beside, path)
    except BaseException:
        os.unlink(beside)
        raise
