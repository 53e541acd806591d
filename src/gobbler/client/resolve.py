"""Resolve which service is meant: by arguments, the environment and configuration files.

The nearest setting counts: arguments, then the environment, then the service that the files
name. A directory belongs to the address that it is written beside; it does not count if another
address is used.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import urlsplit

from gobbler.client.config import (
    ConfigFile,
    InvalidConfiguration,
    expanded_path,
    read_configs,
    service_names,
)
from gobbler.errors import Code, Missing, Refused, quoted
from gobbler.fs.listeners import TABLES, listeners
from gobbler.fs.open import user_name

ENVIRONMENT = {
    "GOBBLER_URL": "Address of the service.",
    "GOBBLER_STAGING": "Path of its staging directory on this machine.",
    "GOBBLER_REGISTRY": "Path of its registry on this machine.",
    "GOBBLER_SERVICE": "Name of a service in the configuration files.",
    "GOBBLER_CACHE": "Directory for files that are fetched over HTTP.",
    "GOBBLER_OFFLINE": "With `1`, send no request: read only what the cache has.",
    "GOBBLER_CONFIG": "The only configuration file to read, instead of all others.",
}
"""The environment variables that clients read."""

DIRECTORIES = ("staging", "registry")
SETTINGS = ("url", *DIRECTORIES)

DEFAULT_URL = "http://127.0.0.1:8080"
"""The address of ``gobbler serve`` without options, used where nothing is configured."""

DEFAULT = "default"
"""The source of a default value."""


class Setting(NamedTuple):
    """A value, and the option, variable or file that it comes from."""

    value: str
    source: str


@dataclass(frozen=True)
class ServiceConfig:
    """The settings of the service that is meant; ``service`` is its name, if it has one."""

    service: Setting | None = None
    settings: Mapping[str, Setting] = field(default_factory=dict)

    @classmethod
    def given(cls, values: Mapping[str, str]) -> ServiceConfig:
        """The settings that a caller gives, and no others."""
        return cls(None, {name: Setting(value, "given") for name, value in values.items()})

    def get(self, setting: str) -> str | None:
        """The value of one of :data:`SETTINGS`, if it is set."""
        found = self.settings.get(setting)
        return None if found is None else found.value

    @property
    def is_default(self) -> bool:
        """Whether nothing is configured, so that :data:`DEFAULT_URL` is used."""
        url = self.settings.get("url")
        return url is not None and url.source == DEFAULT


Layer = Mapping[str, Setting]


def check_default_service(tables: Sequence[str] = TABLES) -> None:
    """Check that the listener at :data:`DEFAULT_URL` belongs to this account or to root.

    If no service is configured, any user of this host could listen there and receive requests
    that are meant for another service. Raises :class:`~gobbler.errors.Refused`.
    """
    own = {os.geteuid(), 0}
    for user, _ in listeners(urlsplit(DEFAULT_URL).port or 0, tables):
        if user not in own:
            raise Refused(
                f"no service is configured, and the one at {DEFAULT_URL} belongs to another "
                f"account: {user_name(user)}",
                code=Code.MISCONFIGURED,
                hint=f"If it is the one that you mean, pass --url {DEFAULT_URL}, or once and for "
                f"all: gobbler config set service.NAME.url {DEFAULT_URL}",
            )


def resolve(given: Mapping[str, str], service: str | None = None) -> ServiceConfig:
    """The service that the environment and the configuration files of this machine select.

    ``given`` has the settings that the caller passes, ``service`` is the name of a service.
    Raises what :func:`resolve_service` and :func:`~gobbler.client.config.read_configs` raise.
    """
    return resolve_service(given, service, os.environ, read_configs(os.environ))


def resolve_service(
    given: Mapping[str, str],
    service: str | None,
    environment: Mapping[str, str],
    files: Sequence[ConfigFile],
) -> ServiceConfig:
    """The service that is meant; in ``files`` the user's own come first.

    Raises :class:`~gobbler.errors.Refused` for settings that contradict each other, and
    :class:`~gobbler.errors.Missing` for a service that no file describes.
    """
    stated = {name: Setting(value, f"--{name}") for name, value in given.items()}
    if service and "url" in stated:
        raise Refused(
            "the address and the name of a service can't be combined",
            hint="Leave out --url or --service (`url` or `service`).",
        )
    around = {} if service else _environment(environment)
    above = [stated, around]
    name = _name(service, environment, files, is_needed=not any(above))
    table = {} if name is None else _table(name.value, files)
    if name is not None and not service and name.source == "GOBBLER_SERVICE":
        _check_environment(around, table)
    url = _url(above)
    if name is not None and url is not None and _url([table]) != url:
        name, table = None, {}
    settings = _overlaid([*above, table])
    if name is None and not settings:
        settings = {"url": Setting(DEFAULT_URL, DEFAULT)}
    return ServiceConfig(name, settings)


def configured_cache() -> Setting | None:
    """The directory of the cache on this machine, if one is configured."""
    return resolve_cache(os.environ, read_configs(os.environ))


def resolve_cache(environment: Mapping[str, str], files: Sequence[ConfigFile]) -> Setting | None:
    """The directory of the cache, if the environment or a file names one."""
    given = environment.get("GOBBLER_CACHE")
    if given and (path := expanded_path("GOBBLER_CACHE", given, environment)):
        return Setting(path, "GOBBLER_CACHE")
    return next((Setting(file.cache, file.path) for file in files if file.cache), None)


def _environment(environment: Mapping[str, str]) -> dict[str, Setting]:
    variables = {name: f"GOBBLER_{name.upper()}" for name in SETTINGS}
    found: dict[str, Setting] = {}
    for name, variable in variables.items():
        value: str | None = environment.get(variable)
        if value and name in DIRECTORIES:
            value = expanded_path(variable, value, environment)
        if value:
            found[name] = Setting(value, variable)
    return found


def _check_environment(around: Layer, table: Layer) -> None:
    url = _url([around])
    if url is not None and _url([table]) != url:
        raise InvalidConfiguration(
            "GOBBLER_URL and GOBBLER_SERVICE mean different services",
            hint="Unset one of them, or pass --url or --service.",
        )


def _name(
    service: str | None,
    environment: Mapping[str, str],
    files: Sequence[ConfigFile],
    *,
    is_needed: bool,
) -> Setting | None:
    """The name of the service, if one is chosen; raises if none is although one ``is_needed``."""
    known = service_names(files)
    chosen = Setting(service, "--service") if service else None
    if chosen is None and environment.get("GOBBLER_SERVICE"):
        chosen = Setting(environment["GOBBLER_SERVICE"], "GOBBLER_SERVICE")
    if chosen is None:
        chosen = next((Setting(file.default, file.path) for file in files if file.default), None)
        if chosen is None and len(known) == 1:
            chosen = Setting(known[0], "the only service")
        if chosen is None and len(known) > 1 and is_needed:
            raise InvalidConfiguration(
                f"several services ({', '.join(known)}) are configured, and none is the default",
                hint="Choose one with --service NAME, or run: gobbler config set default NAME",
            )
    if chosen is not None and chosen.value not in known:
        where = next((f.place("default") for f in files if f.path == chosen.source), chosen.source)
        raise _unknown(chosen.value, where, known)
    return chosen


def _unknown(name: str, where: str, known: Sequence[str]) -> Missing:
    hint = f"Configured are {', '.join(known)}. " if known else ""
    return Missing(
        f"there is no service {quoted(name)} in the configuration ({where})",
        code=Code.SERVICE_NOT_FOUND,
        hint=f"{hint}Add it with: gobbler config set service.{name}.url http://...",
    )


def _table(name: str, files: Sequence[ConfigFile]) -> Layer:
    """The settings of a service from all files."""
    return _overlaid(
        [
            {
                setting: Setting(value, file.path)
                for setting in SETTINGS
                if (value := getattr(file.services[name], setting)) is not None
            }
            for file in files
            if name in file.services
        ]
    )


def _url(layers: Iterable[Layer]) -> str | None:
    """The nearest address, in the form in which addresses are compared."""
    return next((layer["url"].value.rstrip("/") for layer in layers if "url" in layer), None)


def _overlaid(layers: Sequence[Layer]) -> dict[str, Setting]:
    """The nearest of each setting; directories beside another address do not count."""
    url = _url(layers)
    fitting = [layer for layer in layers if _url([layer]) in (None, url)]
    return {
        setting: next(layer[setting] for layer in fitting if setting in layer)
        for setting in SETTINGS
        if any(setting in layer for layer in fitting)
    }
