"""The user's own directories on this machine, and paths with ``~`` and variables.

A process may have no home, no account and no ``$USER``: in a container, as a job of a cluster, as
a daemon. Then there is no configuration of the user's own, and downloads go to a directory that
is made for them in the temporary directory.
"""

from __future__ import annotations

import os
import pwd
import re
import stat
from collections.abc import Mapping

NAME = "gobbler"

_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})")


def expanded(path: str, environment: Mapping[str, str]) -> str:
    """``path`` with ``~`` and variables expanded. What is not set stays as it is.

    Without ``$USER`` and ``$HOME``, the account says them.
    """

    def value(found: re.Match[str]) -> str:
        return _variable(found[1] or found[2], environment) or found[0]

    text = _VARIABLE.sub(value, path)
    if text == "~" or text.startswith("~/"):
        home = _variable("HOME", environment)
        return home + text[1:] if home else text
    return os.path.expanduser(text)


def unset_in(path: str) -> str | None:
    """What :func:`expanded` could not expand in ``path``, if anything: ``$SCRATCH``, ``~``."""
    found = re.search(r"\$\w+|\$\{[^}]*\}?|\A~[^/]*", path)
    return found[0] if found else None


def _variable(name: str, environment: Mapping[str, str]) -> str | None:
    if name in environment:
        return environment[name]
    if name not in ("HOME", "USER", "LOGNAME"):
        return None
    try:
        account = pwd.getpwuid(os.geteuid())
    except KeyError:
        return None if name == "HOME" else str(os.geteuid())
    return account.pw_dir if name == "HOME" else account.pw_name


def config_directory() -> str | None:
    """The directory for configuration; ``None`` if the user has none."""
    return _directory("XDG_CONFIG_HOME", "~/.config")


def state_directory() -> str | None:
    """The directory for state; ``None`` if the user has none."""
    return _directory("XDG_STATE_HOME", "~/.local/state", NAME)


def default_cache() -> str:
    """The default directory for downloads: among the user's data, or a temporary one."""
    return _directory("XDG_DATA_HOME", "~/.local/share", NAME) or temporary_directory()


def _directory(variable: str, default: str, *below: str) -> str | None:
    """The directory that ``variable`` names (XDG Base Directory Specification)."""
    found = os.path.expanduser(os.environ.get(variable, "").strip() or default)
    return os.path.join(found, *below) if os.path.isabs(found) else None


def temporary_directory() -> str:
    """A directory that only this account can write, in the temporary directory; it stays.

    Processes of one account share it, unless somebody else has taken its name.
    """
    import tempfile

    path = os.path.join(tempfile.gettempdir(), f"{NAME}-{os.geteuid()}")
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        status = os.lstat(path)
        is_private = stat.S_ISDIR(status.st_mode) and not status.st_mode & 0o022
        if not is_private or status.st_uid != os.geteuid():
            return tempfile.mkdtemp(prefix=f"{NAME}-")
    return path
