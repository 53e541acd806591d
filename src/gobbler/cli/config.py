"""``gobbler config``: show or change which service commands use."""

from __future__ import annotations

import os
from typing import Any

import click

from gobbler.cli import common, terminal
from gobbler.client import config, config_editor
from gobbler.client.config import KEYS, SERVICE_KEYS, ConfigFile
from gobbler.client.resolve import (
    SETTINGS,
    ServiceConfig,
    Setting,
    resolve_cache,
    resolve_service,
)
from gobbler.client.service_url import shown_url
from gobbler.client.user_directories import default_cache
from gobbler.errors import Code, Refused

_site = click.option(
    "--site", is_flag=True, help="Use the file for all users of this machine instead of yours."
)


class _Described(click.Group):
    """Lists the settings below its help."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Settings"):
            service = {f"service.NAME.{key}": text for key, text in SERVICE_KEYS.items()}
            formatter.write_dl(list({**KEYS, **service}.items()))


@click.group("config", cls=_Described)
def command() -> None:
    """Show or change which service commands use.

    The first of these that has a setting counts: options such as --url, the environment
    (GOBBLER_URL, ...), your configuration file, the file for all users. A directory counts
    only together with the address beside it.

    \b
    Examples:
      gobbler config set service.lab.url http://gobbler.example.org:8080
      gobbler config set default lab
      gobbler config show
      gobbler ls --service other
    """


@command.command(short_help="Show each setting and its source.")
@common.service
@common.as_json
def show(service: str | None, as_json: bool) -> None:
    """Show each setting that commands use, and its source.

    \b
    Examples:
      gobbler config show
      gobbler config show --service other
      gobbler config show --json
    """
    files = config.read_configs(os.environ)
    located = resolve_service({}, service, os.environ, files)
    found = _settings(located, files)
    if as_json:
        terminal.print_json(
            {
                "settings": {
                    name: None if each is None else {"value": each.value, "source": each.source}
                    for name, each in found.items()
                },
                "services": config.service_names(files),
                "files": [file.path for file in files],
            }
        )
        return
    rows = [[name, *(each or _absent(name, located))] for name, each in found.items()]
    terminal.print_table(["setting", "value", "from"], rows)


def _settings(located: ServiceConfig, files: list[ConfigFile]) -> dict[str, Setting | None]:
    cache = resolve_cache(os.environ, files) or Setting(default_cache(), "default")
    settings = {name: located.settings.get(name) for name in SETTINGS}
    if (url := settings["url"]) is not None:
        settings["url"] = url._replace(value=shown_url(url.value))
    return {"service": located.service, **settings, "cache": cache}


def _absent(name: str, located: ServiceConfig) -> Setting:
    """The text of ``show`` for a setting without a value."""
    if name in ("staging", "registry") and located.get("url") is not None:
        return Setting("", "from the service")
    return Setting("", "not set")


@command.command(short_help="Print the path of your configuration file.")
@_site
@common.as_json
def path(site: bool, as_json: bool) -> None:
    """Print the path of your configuration file. The file may not exist yet.

    \b
    Examples:
      cat "$(gobbler config path)"
      gobbler config path --site
    """
    found = _path(site)
    if as_json:
        terminal.print_json({"path": found, "exists": os.path.exists(found)})
    else:
        terminal.print_path(found)


@command.command("set", short_help="Write a setting into your configuration file.")
@click.argument("setting")
@click.argument("value")
@_site
@common.as_json
def set_(setting: str, value: str, site: bool, as_json: bool) -> None:
    """Write SETTING into your configuration file. Its comments stay.

    \b
    Examples:
      gobbler config set service.lab.url http://gobbler.example.org:8080
      gobbler config set service.lab.registry /mnt/registry
      gobbler config set cache '/scratch/$USER/gobbler'
      sudo gobbler config set --site default lab
    """
    file = _path(site)
    config_editor.set_value(file, setting, value, os.environ)
    shown = shown_url(value) if setting.endswith(".url") else value
    _report(file, {"setting": setting, "value": shown}, as_json=as_json)


@command.command(short_help="Remove a setting from your configuration file.")
@click.argument("setting")
@_site
@common.as_json
def unset(setting: str, site: bool, as_json: bool) -> None:
    """Remove SETTING, or a whole service, from your configuration file.

    \b
    Examples:
      gobbler config unset service.lab.registry
      gobbler config unset service.lab
    """
    file = _path(site)
    config_editor.unset_value(file, setting, os.environ)
    _report(file, {"setting": setting}, as_json=as_json)


def _path(site: bool) -> str:
    files = config.site_configs(os.environ) if site else []
    found = files[0] if files else config.user_config(os.environ)
    if not found:
        raise Refused(
            "there is no place for a configuration file of yours: this account has no home",
            code=Code.MISCONFIGURED,
            hint="Set GOBBLER_CONFIG to the path of a file.",
        )
    return found


def _report(file: str, changed: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        terminal.print_json(changed | {"path": file})
    else:
        click.echo(f"changed {terminal.printable(file)}")
