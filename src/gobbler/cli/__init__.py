"""The command line. Each command is a module of its name with an object ``command``.

A command loads its own module only, so it starts fast. It prints its result on standard
output, and everything else on standard error.
"""

from __future__ import annotations

import contextlib
import gc
import sys
from importlib import import_module
from typing import Any, NoReturn

import click

from gobbler import __version__
from gobbler.cli import terminal
from gobbler.cli.signals import signal_outcome
from gobbler.errors import Code, Fault, GobblerError, os_error_code, quoted
from gobbler.fs.umask import keep_owners_rights
from gobbler.fs.utf8_mode import ensure_utf8

GROUPS = {
    "Read": {
        "ls": "list projects, assets, versions or files",
        "tree": "show a project, an asset or a version as a tree",
        "show": "show details of a project, an asset or a version",
        "fetch": "get a version, a directory or a file",
        "cat": "print a file",
        "diff": "compare two versions",
        "usage": "show how much space projects take",
    },
    "Publish": {
        "upload": "publish a directory as a new version",
        "clone": "prepare the next version as a tree of links",
        "jobs": "list, follow or cancel your jobs",
        "probation": "list, approve or reject versions on probation",
    },
    "Manage projects": {
        "create-project": "create a project",
        "permissions": "show or change owners and uploaders",
        "delete": "delete a project, an asset or a version",
        "reroute": "redirect links before you delete their targets",
        "validate": "verify versions against their records",
        "reindex": "rebuild the records of a version from its files",
        "refresh": "recompute the latest version or the usage",
    },
    "Run a service": {
        "serve": "run a service",
        "worker": "run jobs of a service on another host",
        "doctor": "check that two directories are fit for a service",
        "index": "show or rebuild the index of a service",
        "staging": "list and remove what uploads left in staging",
        "demo": "publish, fetch and compare real data",
    },
    "Set up": {
        "info": "show a service and its directories",
        "config": "show or change which service commands use",
        "cache": "list, verify or prune downloaded files",
        "completion": "set up completion in your shell",
    },
}
"""The commands with their one-line help, as ``gobbler --help`` groups them."""

COMMANDS = {name: text for group in GROUPS.values() for name, text in group.items()}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"gobbler.cli.{cmd_name.replace('-', '_')}")
        gc.enable()
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        for title, commands in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl(list(commands.items()), col_max=16)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="gobbler")
def cli() -> None:
    """Publish versions of data that never change, on a shared filesystem.

    \b
    List data:      gobbler ls
                    gobbler ls weather/stations
    Get data:       gobbler fetch weather/stations/@latest
    Publish data:   gobbler upload ./results weather/stations/1.3
    Review it:      gobbler probation list weather
    Try a service:  gobbler serve

    Commands use the service that --url, GOBBLER_URL or 'gobbler config' names, otherwise the
    one on this machine. Exit codes: 0 done, 1 the service failed, 2 wrong command line, 3
    refused, 4 not allowed, 5 not found, 6 no service answers, 130 interrupted, 141 nobody
    reads the output, 143 terminated.
    """


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit with its code."""
    words = sys.argv[1:] if arguments is None else arguments
    with terminal.guarded():
        try:
            code = _run(words, may_restart=arguments is None)
            sys.stdout.flush()
        except terminal.OutputLost as lost:
            code = _report_lost(lost)
    sys.exit(code)


def _report_lost(lost: terminal.OutputLost) -> int:
    """Report output that could not be written, unless its reader has seen enough."""
    terminal.discard_output()
    if lost.is_quiet:
        return 0 if lost.is_done else terminal.SIGPIPE_EXIT
    terminal.print_error(f"could not write the output: {lost}")
    return 0 if lost.is_done else Fault.exit_code


def _run(words: list[str], *, may_restart: bool) -> int:
    """Run the command line; return the exit code."""
    as_json = "--json" in words
    try:
        if may_restart:  # this process is ours
            ensure_utf8()
            keep_owners_rights()
        result: Any = cli.main(args=words, prog_name="gobbler", standalone_mode=False)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        error.show()
        _print_json_error(Code.USAGE, error.format_message(), wanted=as_json)
        return error.exit_code
    except GobblerError as error:
        terminal.print_error(error.reason, error.hint)
        _print_json_error(error.code, error.reason, error.hint, wanted=as_json)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt) as error:
        word, code = signal_outcome(error)
        click.echo(word, err=True)
        _print_json_error(Code.CANCELLED, word, wanted=as_json)
        return code
    except (OSError, UnicodeError) as error:
        reason = _reason(error)
        terminal.print_error(reason)
        code_word = os_error_code(error) if isinstance(error, OSError) else Code.INVALID_NAME
        _print_json_error(code_word, reason, wanted=as_json)
        return Fault.exit_code
    return result if isinstance(result, int) else 0


def _reason(error: OSError | UnicodeError) -> str:
    """The reason of an error that no other code expected."""
    if isinstance(error, UnicodeError):
        return f"a name or an address is not text in UTF-8: {error}"
    shutil = sys.modules.get("shutil")  # it is its error only if it was loaded
    if shutil and isinstance(error, shutil.Error) and isinstance(error.args[0], list):
        # It holds a list: source, target and reason of each file that could not be copied.
        first, *more = error.args[0]
        return f"{quoted(first[0])} could not be copied: {first[2]}" + (
            f"; and {len(more)} more" if more else ""
        )
    named = error.filename
    place = f"{quoted(named)}: " if isinstance(named, str | bytes) else ""
    return f"{place}{error.strerror or error}"


def _print_json_error(code: Code | str, reason: str, hint: str = "", *, wanted: bool) -> None:
    """Print an error as the JSON document of a command; also if nobody reads it."""
    if wanted:
        error = {"code": str(code), "reason": reason, "hint": hint}
        with contextlib.suppress(terminal.OutputLost):
            terminal.print_json({"error": error})
