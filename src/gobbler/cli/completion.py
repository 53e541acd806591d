"""``gobbler completion``: set up completion of commands, options and addresses in a shell.

Completion must not keep the shell waiting or print errors: where the service is slow or
fails, there are no candidates. The names come from other users, and the scripts of the shells
insert them as they are. So names that a shell might not take literally are left out.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping
from typing import Any

import click
from click.shell_completion import CompletionItem, get_completion_class

from gobbler.client import Client
from gobbler.client.address import AT_LATEST, Address
from gobbler.client.client import find_client, resolve_latest
from gobbler.client.handle import names_of
from gobbler.model.names import is_internal


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print a script that makes SHELL complete commands, options and addresses.

    Addresses come from the service that the command line selects, see 'gobbler config show'.
    If the service does not answer within two seconds, there are no candidates. Names with
    spaces or other characters that are special in a shell are not completed.

    \b
    Examples:
      eval "$(gobbler completion bash)"       in ~/.bashrc
      eval "$(gobbler completion zsh)"        in ~/.zshrc, after compinit
      gobbler completion fish > ~/.config/fish/completions/gobbler.fish
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"click has no completion for {shell}")
    top = context.find_root()
    name = str(top.info_name)
    variable = f"_{name.replace('-', '_').upper()}_COMPLETE"
    click.echo(kind(top.command, {}, name, variable).source())


SECONDS = 2.0
"""Seconds that the shell waits at most."""

MANY = 1000
"""Most candidates; a shell asks before it shows a hundred."""


def completed(options: Mapping[str, Any], incomplete: str) -> list[CompletionItem]:
    """Candidates for an ``incomplete`` address; ``options`` are those of the command line."""
    found: list[str] = []

    def find() -> None:
        with contextlib.suppress(Exception):  # nothing may be printed into the command line
            found.extend(candidates(_client(options), incomplete))

    # A daemon thread, so that a service that does not answer can't keep this process alive.
    search = threading.Thread(target=find, daemon=True)
    search.start()
    search.join(SECONDS)
    return [CompletionItem(address) for address in found if is_literal(address)][:MANY]


_PLAIN = frozenset("/._-+@%:")
"""Characters, besides letters and digits, that no shell treats specially within a word."""


def is_literal(address: str) -> bool:
    """Whether every shell takes ``address`` literally, as an argument that is no option."""
    return address[:1] not in ("-", "+", "%", ":") and all(
        char in _PLAIN or (char.isalnum() and (char.isascii() or char.isalpha()))
        for char in address
    )


def _client(options: Mapping[str, Any]) -> Client:
    return find_client(
        {"url": options.get("url"), "registry": options.get("registry")},
        service=options.get("service"),
        cache=options.get("cache"),
        force_remote=bool(options.get("remote")),
    )


def candidates(client: Client, incomplete: str) -> list[str]:
    """The addresses that begin with ``incomplete``, one component longer.

    All candidates but versions and files end with a slash. A shell adds a space after a single
    candidate; so if that ends with a slash, this returns its content instead.
    """
    if not client.connection.can_read:
        return []
    while True:
        above, slash, begun = incomplete.rpartition("/")
        names = [name for name in _names(client, above) if name.startswith(begun)]
        found = [f"{above}{slash}{name}" for name in names]
        if len(found) != 1 or not found[0].endswith("/"):
            return found
        incomplete = found[0]


def _names(client: Client, above: str) -> list[str]:
    """The names in ``above``, a complete address; directories with a slash."""
    parts = above.split("/", 3) if above else []
    if any(not part or is_internal(part) for part in parts):
        return []
    if len(parts) == 0:
        return [f"{name}/" for name in names_of(client.projects())]
    if len(parts) == 1:
        return [f"{name}/" for name in names_of(client.project(*parts))]
    if len(parts) == 2:
        return [*names_of(client.asset(*parts)), AT_LATEST]
    place = resolve_latest(client, Address(*parts))
    inside = client.version(place.project, place.asset, place.version).directory(place.path)
    return [f"{name}/" if entry is None else name for name, entry in inside.items()]
