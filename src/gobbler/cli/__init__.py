"""The command line. Each command is a module of its name with an object ``command``.

Modules are loaded when their command is used, so that each starts fast. What a command
prints on standard output is its result; everything else goes to standard error.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from importlib import import_module
from typing import Any, NoReturn

import click

from gobbler import __version__
from gobbler.cli.signals import outcome
from gobbler.errors import Code, GobblerError, os_error_code

COMMANDS = {
    "cache": "list, verify or prune what was downloaded",
    "cat": "print the content of a file",
    "clone": "start a next version as a tree of links",
    "completion": "have the shell complete commands and addresses",
    "config": "show or change which service is used",
    "create-project": "make a new project",
    "delete": "delete a project, an asset or a version",
    "demo": "see it work: publish, fetch and compare a real directory",
    "diff": "show what differs between two versions",
    "doctor": "say whether two directories are fit for the service",
    "fetch": "get a file, a directory or a version",
    "index": "look after the index of a service",
    "info": "show a service and its directories",
    "jobs": "list, follow or cancel what one has asked for",
    "ls": "list projects, assets, versions or files",
    "permissions": "show or set owners and uploaders",
    "probation": "list, approve or reject versions that are not final",
    "refresh": "find the latest version or the usage anew",
    "reindex": "make the records of a version anew from its files",
    "reroute": "lead links around what is to be deleted",
    "serve": "run the service",
    "show": "show who published what, how much, and who may do what",
    "tree": "show a project, an asset or a version as a tree",
    "upload": "publish a directory as a new version",
    "usage": "show how much projects take",
    "worker": "carry out the jobs of a spool",
    "validate": "compare a version with its records",
}
"""The commands, and what ``gobbler --help`` tells of them."""


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"gobbler.cli.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # The reader of our output has seen enough. What is still buffered goes nowhere.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="gobbler")
def cli() -> None:
    """Versions of data that never change once published, on a shared filesystem.

    \b
    Look around:      gobbler ls
                      gobbler ls weather/stations
    Get data:         gobbler fetch weather/stations/@latest
    Publish data:     gobbler upload ./results weather/stations/1.3
    Review it:        gobbler probation list weather
    Run a service:    gobbler serve --staging /data/staging --registry /data/registry

    The service is found by --url, GOBBLER_URL or what 'gobbler config' tells. Exit codes:
    0 done, 1 the service failed, 2 wrong usage, 3 refused, 4 not allowed, 5 not there, 6 no
    service answers, 130 interrupted, 143 terminated.
    """


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit with its code."""
    words = sys.argv[1:] if arguments is None else arguments
    as_json = "--json" in words
    try:
        result: Any = cli.main(args=words, prog_name="gobbler", standalone_mode=False)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        error.show()
        _print_json_error(Code.USAGE, error.format_message(), wanted=as_json)
        sys.exit(error.exit_code)
    except GobblerError as error:
        click.echo(f"error: {error.reason}", err=True)
        if error.hint:
            click.echo(f"hint: {error.hint}", err=True)
        _print_json_error(error.code, error.reason, error.hint, wanted=as_json)
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt) as error:
        word, code = outcome(error)
        click.echo(word, err=True)
        _print_json_error(Code.CANCELLED, word, wanted=as_json)
        sys.exit(code)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        reason = f"{place}{error.strerror or error}"
        click.echo(f"error: {reason}", err=True)
        _print_json_error(os_error_code(error), reason, wanted=as_json)
        sys.exit(1)
    sys.exit(result if isinstance(result, int) else 0)


def _print_json_error(code: Code | str, reason: str, hint: str = "", *, wanted: bool) -> None:
    """Print an error as the document of a command with ``--json``.

    Whoever read the output may be gone, which is no further error.
    """
    if wanted:
        error = {"code": str(code), "reason": reason, "hint": hint}
        with contextlib.suppress(BrokenPipeError):
            click.echo(json.dumps({"error": error}, indent=2))
