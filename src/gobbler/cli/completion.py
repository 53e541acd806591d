"""``gobbler completion``: what a shell needs to complete commands, options and addresses."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print a script that has SHELL complete commands, options and addresses.

    Addresses are those of the service that commands would use (see 'gobbler config show'), or
    that the options mean that are on the line already. Without an answer within two seconds
    there is nothing to complete.

    \b
    Examples:
      eval "$(gobbler completion bash)"       in ~/.bashrc
      eval "$(gobbler completion zsh)"        in ~/.zshrc, after compinit
      gobbler completion fish > ~/.config/fish/completions/gobbler.fish
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"click knows no completion for {shell}")
    top = context.find_root()
    name = str(top.info_name)
    variable = f"_{name.replace('-', '_').upper()}_COMPLETE"
    click.echo(kind(top.command, {}, name, variable).source())
