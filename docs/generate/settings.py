"""The reference of settings: of services, from click; of clients, from where they are read."""

from __future__ import annotations

import click

from docs.generate import commands, markdown
from gobbler.cli.serve import command as serve
from gobbler.cli.worker import command as worker
from gobbler.client import config
from gobbler.client.config import KEYS, SERVICE_KEYS, SITE_DIRECTORY
from gobbler.client.resolve import DEFAULT_URL, ENVIRONMENT

NAMES = {serve: "serve", worker: "worker"}

SERVICE = """\
# Settings

## Of a service

Options of `gobbler serve` and `gobbler worker`. Each may be written with one dash, too, as the
Go service spells them, and with a blank or `=` before its value. A service reads neither the
environment nor a configuration file.
"""

ENVIRONMENT_TEXT = """\
## Environment of clients

Commands, and `gobbler.client.Client()` where it is given neither `url`, `staging` nor
`registry`, look at these variables. One that is empty is not set. The functions of `pygobbler`
are given everything and look at `GOBBLER_CACHE` alone.
"""

FILE_TEXT = """\
## Configuration file of clients

`gobbler config show` tells which settings are used and where each comes from. Change your file
with `gobbler config set` and `gobbler config unset`, or write it by hand. It is TOML:

```toml
{example}
```

These files are read, the first counts most; they need not be there:

1. yours: `$XDG_CONFIG_HOME/gobbler/config.toml`, by default `~/.config/gobbler/config.toml`;
2. those of the site: `gobbler/config.toml` in each directory of `$XDG_CONFIG_DIRS`, if that is
   set, and `{site}/gobbler/config.toml`.
"""

RULE = """\
## Which setting counts

The nearest: an option (or a parameter of `Client`), a variable of the environment, your file,
the files of the site. A directory counts only together with the address that it stands beside:
with `--url` of another service, the staging directory of yours is not used. One that stands
without an address, such as `GOBBLER_REGISTRY` alone, goes with any.

The service of the files is the one that `--service` (`Client(service=...)`) or
`GOBBLER_SERVICE` names, else the `default`, else the only one. `--service` makes that of the
environment count for nothing. `--url` together with `--service`, and `GOBBLER_SERVICE` together
with a `GOBBLER_URL` that is not its address, are refused.

Where nothing of this names a service, clients use the address of `gobbler serve` without options:
`{default_url}`. Commands say so on standard error.

A file that makes no sense is refused with its line and exit code 3, by every command that looks
for a service.
"""


def page() -> str:
    """The whole page."""
    rows: dict[tuple[str, ...], list[str]] = {}
    for command in (serve, worker):
        for option in command.params:
            assert isinstance(option, click.Option)
            written, meaning = commands.row(option)
            required = " Must be given." if option.required else ""
            rows.setdefault((written, meaning + required), []).append(NAMES[command])
    options = [[*told, ", ".join(of)] for told, of in rows.items()]
    keys = [[f"`{key}`", text] for key, text in KEYS.items()]
    keys += [[f"`service.NAME.{key}`", text] for key, text in SERVICE_KEYS.items()]
    variables = [[f"`{name}`", text] for name, text in ENVIRONMENT.items()]
    example = markdown.example(config.__doc__)
    return "\n\n".join(
        [
            SERVICE.strip(),
            markdown.table(["option", "meaning", "of"], options),
            ENVIRONMENT_TEXT.strip(),
            markdown.table(["variable", "meaning"], variables),
            FILE_TEXT.format(example=example, site=SITE_DIRECTORY).strip(),
            markdown.table(["setting", "meaning"], keys),
            "In paths `~` and variables such as `$USER` are replaced.",
            RULE.format(default_url=DEFAULT_URL).strip(),
        ]
    )
