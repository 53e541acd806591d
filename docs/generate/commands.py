"""The reference of commands, from click."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click

from docs.generate import markdown
from gobbler.cli import COMMANDS, cli

INTRODUCTION = """\
# Commands

This is the text of `gobbler COMMAND --help`. An ADDRESS is `project/asset/version/path`;
`@latest` is the name of the latest version. With `--json`, a command prints one JSON document
on standard output, also for an error: see [errors.md](errors.md). Messages go to standard error.
"""

SERVE = ("serve", "worker")
"""Commands whose options are on the page of settings."""


def page() -> str:
    """The whole page."""
    group = click.Context(cli, info_name="gobbler")
    found = [(name, cli.get_command(group, name)) for name in sorted(COMMANDS)]
    rows = [
        [f"[`gobbler {name}`](#{markdown.link(f'gobbler {name}')})", COMMANDS[name]]
        for name, _ in found
    ]
    parts = [
        INTRODUCTION,
        _text(cli),
        markdown.table(["command", "what it does"], rows),
    ]
    for name, command in found:
        assert command is not None
        parts += _described(command, click.Context(command, parent=group, info_name=name), 2)
    return "\n\n".join(parts)


def _described(command: click.Command, context: click.Context, depth: int) -> Iterator[str]:
    yield f"{'#' * depth} {context.command_path}"
    yield f"```\n{' '.join([context.command_path, *command.collect_usage_pieces(context)])}\n```"
    yield _text(command)
    if context.info_name in SERVE:
        yield "For its options, see [settings.md](settings.md)."
    elif options := [p for p in command.params if isinstance(p, click.Option)]:
        yield markdown.table(["option", "meaning"], [row(option) for option in options])
    if isinstance(command, click.Group):
        for name in sorted(command.commands):
            inner = command.commands[name]
            below = click.Context(inner, parent=context, info_name=name)
            yield from _described(inner, below, depth + 1)


def _text(command: click.Command) -> str:
    """The help of a command; blocks that click does not wrap become code."""
    made = []
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        if not paragraph.startswith("\b\n"):
            made.append(paragraph)
            continue
        lines = paragraph.removeprefix("\b\n").splitlines()
        if lines[0].endswith(("Example:", "Examples:")):
            code = inspect.cleandoc("\n" + "\n".join(lines[1:]))
            made.append(f"{lines[0]}\n\n```sh\n{code}\n```")
        else:
            made.append("```\n" + "\n".join(lines) + "\n```")
    return "\n\n".join(made)


def row(option: click.Option) -> list[str]:
    """An option and its meaning."""
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    if not option.is_flag:
        names += f" `{metavar(option)}`"
    return [names, f"{option.help or ''}{default(option)}"]


def metavar(option: click.Option) -> str:
    """The placeholder for the value of an option."""
    if option.metavar:
        return option.metavar
    if isinstance(option.type, click.Choice):
        return "|".join(str(choice) for choice in option.type.choices)
    if isinstance(option.type, click.IntRange):
        return f"{option.type.min}..{option.type.max or ''}"
    return option.type.name.upper()


def default(option: click.Option) -> str:
    """The default of an option, if its help shows it."""
    if not option.show_default:
        return ""
    if isinstance(option.show_default, str):
        return f" Default: {option.show_default}."
    if option.secondary_opts:
        return f" Default: `{(option.opts if option.default else option.secondary_opts)[0]}`."
    return f" Default: `{option.default}`." if option.default != "" else ""
