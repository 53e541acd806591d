"""Which service is meant: the rule, on what was given, the environment, and the files.

Nearest first: what was given, the environment, the service that the files name. Directories
belong to the address that they stand beside, so what stands beside another address than
the one that is used does not count.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from gobbler.client.config_schema import Configuration, InvalidConfiguration
from gobbler.errors import Missing, Refused, quoted

ENVIRONMENT = {
    "GOBBLER_URL": "Address of the service.",
    "GOBBLER_STAGING": "Its staging directory as it is mounted here.",
    "GOBBLER_REGISTRY": "Its registry as it is mounted here.",
    "GOBBLER_SERVICE": "Name of the service, of those in the configuration files.",
    "GOBBLER_CACHE": "Directory for what is fetched over HTTP.",
    "GOBBLER_CONFIG": "The one configuration file to read, in the place of all others.",
}
"""The variables of the environment that clients look at, and what they mean."""

DIRECTORIES = ("staging", "registry")
SETTINGS = ("url", *DIRECTORIES)

DEFAULT_URL = "http://127.0.0.1:8080"
"""The address of ``gobbler serve`` without options, used where nothing is configured."""

DEFAULT = "default"
"""The source of a value that nobody chose."""


class Found(NamedTuple):
    """A value, and where it comes from, for people."""

    value: str
    source: str


@dataclass(frozen=True)
class Located:
    """What is known of the service that is meant; ``service`` is its name, if it has one."""

    service: Found | None = None
    settings: Mapping[str, Found] = field(default_factory=dict)

    def get(self, setting: str) -> str | None:
        """The value of one of :data:`SETTINGS`, if it is known."""
        found = self.settings.get(setting)
        return None if found is None else found.value

    @property
    def is_default(self) -> bool:
        """Whether nothing is configured, so that :data:`DEFAULT_URL` is used."""
        url = self.settings.get("url")
        return url is not None and url.source == DEFAULT


Layer = Mapping[str, Found]


def locate(
    given: Mapping[str, str],
    service: str | None,
    environment: Mapping[str, str],
    files: Sequence[Configuration],
) -> Located:
    """The service that is meant; ``files`` are the user's own first.

    Raises :class:`~gobbler.errors.Refused` for what contradicts itself, and
    :class:`~gobbler.errors.Missing` for a service that no file tells of.
    """
    stated = {name: Found(value, f"--{name}") for name, value in given.items()}
    if service and "url" in stated:
        raise Refused(
            "an address and the name of a service were given, which may not be the same",
            hint="Leave out --url or --service.",
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
        settings = {"url": Found(DEFAULT_URL, DEFAULT)}
    return Located(name, settings)


def locate_cache(environment: Mapping[str, str], files: Sequence[Configuration]) -> Found | None:
    """The directory for what is fetched, if the environment or a file names one."""
    if environment.get("GOBBLER_CACHE"):
        return Found(environment["GOBBLER_CACHE"], "GOBBLER_CACHE")
    return next((Found(file.cache, file.path) for file in files if file.cache), None)


def names(files: Iterable[Configuration]) -> list[str]:
    """The services that the files tell of."""
    return sorted({name for file in files for name in file.services})


def _environment(environment: Mapping[str, str]) -> dict[str, Found]:
    variables = {name: f"GOBBLER_{name.upper()}" for name in SETTINGS}
    return {
        name: Found(environment[variable], variable)
        for name, variable in variables.items()
        if environment.get(variable)
    }


def _check_environment(around: Layer, table: Layer) -> None:
    url = _url([around])
    if url is not None and _url([table]) != url:
        raise InvalidConfiguration(
            "GOBBLER_URL and GOBBLER_SERVICE mean different services",
            hint="Unset one of them, or choose with --url or --service.",
        )


def _name(
    service: str | None,
    environment: Mapping[str, str],
    files: Sequence[Configuration],
    *,
    is_needed: bool,
) -> Found | None:
    """The name of the service; nothing is wrong with none unless one ``is_needed``."""
    known = names(files)
    chosen = Found(service, "--service") if service else None
    if chosen is None and environment.get("GOBBLER_SERVICE"):
        chosen = Found(environment["GOBBLER_SERVICE"], "GOBBLER_SERVICE")
    if chosen is None:
        chosen = next((Found(file.default, file.path) for file in files if file.default), None)
        if chosen is None and len(known) == 1:
            chosen = Found(known[0], "the only one")
        if chosen is None and len(known) > 1 and is_needed:
            raise InvalidConfiguration(
                f"there are several services ({', '.join(known)}), and none is the default",
                hint="Choose with --service NAME, or: gobbler config set default NAME",
            )
    if chosen is not None and chosen.value not in known:
        where = next((f.place("default") for f in files if f.path == chosen.source), chosen.source)
        raise _unknown(chosen.value, where, known)
    return chosen


def _unknown(name: str, where: str, known: Sequence[str]) -> Missing:
    hint = f"Known are {', '.join(known)}. " if known else ""
    return Missing(
        f"there is no service {quoted(name)} in the configuration ({where})",
        hint=f"{hint}Add it with: gobbler config set service.{name}.url http://...",
    )


def _table(name: str, files: Sequence[Configuration]) -> Layer:
    """The settings of a service from all files."""
    return _overlaid(
        [
            {
                setting: Found(value, file.path)
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


def _overlaid(layers: Sequence[Layer]) -> dict[str, Found]:
    """The nearest of each setting; directories beside another address don't count."""
    url = _url(layers)
    fitting = [layer for layer in layers if _url([layer]) in (None, url)]
    return {
        setting: next(layer[setting] for layer in fitting if setting in layer)
        for setting in SETTINGS
        if any(setting in layer for layer in fitting)
    }
