"""The reference of settings of services and clients."""

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

These are the options of `gobbler serve` and `gobbler worker`. You can write each with one dash,
as for the Go service, and with a blank or `=` before its value. A service reads neither the
environment nor a configuration file.
"""

ENVIRONMENT_TEXT = """\
## Environment of clients

Commands read these variables, and so does `gobbler.client.Client()` without `url`, `staging` and
`registry`. An empty variable counts as not set. The functions of `pygobbler` read
`GOBBLER_CACHE` and `GOBBLER_OFFLINE` only.
"""

FILE_TEXT = """\
## Configuration file of clients

`gobbler config show` shows each setting and its source. Change your file with `gobbler config
set` and `gobbler config unset`, or edit it. It is TOML:

```toml
{example}
```

Commands read these files, if they exist. A setting in an earlier file counts:

1. yours: `$XDG_CONFIG_HOME/gobbler/config.toml`, by default `~/.config/gobbler/config.toml`;
2. those of the site: `gobbler/config.toml` in each directory of `$XDG_CONFIG_DIRS`, if set, and
   `{site}/gobbler/config.toml`.
"""

RULE = """\
## Which setting counts

The first of these that has the setting: an option (or a parameter of `Client`), a variable of
the environment, your file, the files of the site. A directory counts only together with the
address beside it: with `--url` of another service, commands ignore the staging directory of
yours. A directory without an address, such as `GOBBLER_REGISTRY` alone, counts with every address.

The files can name several services. The one that counts is that of `--service`
(`Client(service=...)`), then `GOBBLER_SERVICE`, then the `default`, then the only one. With
`--service`, commands ignore the other variables of the environment. They refuse `--url` together
with `--service`, and `GOBBLER_SERVICE` together with a `GOBBLER_URL` that is not its address.

Without any of these, clients use `{default_url}`, the address of `gobbler serve` without options.
Commands then print a line about it on standard error.

Every command that needs a service refuses a file with an error, names its line, and exits with 3.
"""


def page() -> str:
    """The whole page."""
    rows: dict[tuple[str, ...], list[str]] = {}
    for command in (serve, worker):
        for option in command.params:
            assert isinstance(option, click.Option)
            written, meaning = commands.row(option)
            required = " Required." if option.required else ""
            rows.setdefault((written, meaning + required), []).append(NAMES[command])
    options = [[*row, ", ".join(of)] for row, of in rows.items()]
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
            "Paths may contain `~` and variables such as `$USER`.",
            RULE.format(default_url=DEFAULT_URL).strip(),
        ]
    )
