"""The encoding of file names: UTF-8, whatever the locale.

Names in a registry are UTF-8. Python takes the encoding of file names from the locale when it
starts: with ``LC_ALL=en_US.ISO-8859-1``, it would write every other letter as other bytes. Its
UTF-8 mode ignores the locale, but can't be switched on later.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import sys

from gobbler.errors import Misconfigured

VARIABLE = "PYTHONUTF8"

_TRIED = "GOBBLER_UTF8_TRIED"
"""Set for the process that should be in UTF-8 mode, so that it does not try again."""


def is_utf8() -> bool:
    """Whether this process reads and writes file names as UTF-8."""
    return codecs.lookup(sys.getfilesystemencoding()).name == "utf-8"


def check_utf8() -> None:
    """Raise :class:`~gobbler.errors.Misconfigured` if file names are not UTF-8 here."""
    if not is_utf8():
        raise Misconfigured(
            f"this process takes file names for {sys.getfilesystemencoding()}, because of its "
            "locale, but the names in a registry are UTF-8",
            hint=f"Start Python with {VARIABLE}=1, or in a locale such as C.UTF-8.",
        )


def ensure_utf8() -> None:
    """Start this program again in UTF-8 mode if it is not in it, and its locale is not UTF-8.

    Returns if file names are UTF-8, or this Python can't be started again: it may be built into
    another program. Raises :class:`~gobbler.errors.Misconfigured` if the new process can't be in
    that mode, because its options exclude it.
    """
    if is_utf8():
        os.environ.pop(_TRIED, None)
        return
    if _TRIED in os.environ:
        check_utf8()
    if not sys.executable:
        return
    environment = {**os.environ, VARIABLE: "1", _TRIED: "1"}
    # The arguments become the bytes again that the shell gave.
    words = [sys.executable, *sys.orig_argv[1:]]
    with contextlib.suppress(OSError):
        os.execve(sys.executable, words, environment)  # noqa: S606 - it is this very program
