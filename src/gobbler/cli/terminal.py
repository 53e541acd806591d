"""The terminal: all that commands print goes through here.

Names, reasons and paths come from other users and other hosts. A terminal obeys escape sequences
and reorders text, so what it should not obey is escaped (``\\x1b``), in everything that is printed
as text, to a terminal or to a file that somebody looks at later. Names in tables are quoted where
that is necessary, as ``git ls-files`` does. Only :func:`print_path` and :func:`print_content`
write bytes as they are, and only to what is not a terminal.
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import functools
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO, cast

import click
from rich.filesize import decimal

from gobbler.errors import GobblerWarning, json_printable, quoted
from gobbler.errors import printable as escaped

if TYPE_CHECKING:  # a command that prints for a script, or a line of text, starts without them
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

SIGPIPE_EXIT = 128 + 13
"""The exit code of a command whose reader went away, as of other commands."""


class OutputLost(Exception):
    """Standard output can't be written, because of ``error``.

    ``is_done``: the command has changed what it should, and can't tell.
    """

    def __init__(self, error: OSError) -> None:
        super().__init__(error.strerror)
        self.error = error
        self.is_done = False

    @property
    def is_quiet(self) -> bool:
        """Whether the reader has seen enough, such as ``head``."""
        return self.error.errno == errno.EPIPE


class _Stream:
    """A text stream that escapes what a terminal would obey.

    It has no ``buffer``, so that nobody writes past it. ``plain`` is the stream below.
    """

    def __init__(self, plain: TextIO) -> None:
        self.plain = plain

    def write(self, text: str | bytes) -> int:
        """Write ``text``, escaped as necessary; also what the encoding does not have."""
        if isinstance(text, bytes):
            if not text:
                raise TypeError("a stream of text")  # so click finds out what this is
            text = text.decode("utf-8", "surrogateescape")
        safe = escaped(text)
        if not safe.isascii() and not is_utf8(self.plain):
            encoding = self.plain.encoding or "ascii"
            safe = safe.encode(encoding, "backslashreplace").decode(encoding)
        with self._errors():
            self.plain.write(safe)
        return len(text)

    def flush(self) -> None:
        """Write what is buffered."""
        with self._errors():
            self.plain.flush()

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self.plain.isatty()

    def _errors(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.suppress(OSError)  # there is nobody to tell

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - any attribute of a stream
        if name in ("buffer", "detach", "reconfigure", "plain"):
            raise AttributeError(name)
        return getattr(self.plain, name)


class _Output(_Stream):
    """Standard output. Its errors are :class:`OutputLost`."""

    def __init__(self, plain: TextIO, *, is_closed: bool) -> None:
        super().__init__(plain)
        self._is_closed = is_closed

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        if self._is_closed:
            raise OutputLost(OSError(errno.EBADF, os.strerror(errno.EBADF)))
        try:
            yield
        except OSError as error:
            raise OutputLost(error) from None

    def flush(self) -> None:
        """Write what is buffered; if it is closed, nothing is, since :meth:`write` fails."""
        if not self._is_closed:
            super().flush()

    def write_bytes(self, data: bytes) -> None:
        """Write ``data`` as it is."""
        with self._errors():
            self.plain.flush()
            self.plain.buffer.write(data)


def is_utf8(stream: TextIO) -> bool:
    """Whether ``stream`` can write every character."""
    try:
        return codecs.lookup(stream.encoding or "ascii").name == "utf-8"
    except LookupError:
        return False


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """Let all output of the block go through this module, warnings too.

    A standard stream that is closed can't be taken by a file that is opened later.
    """
    closed = {number for number in range(3) if _open_if_closed(number)}
    plain = sys.stdin, sys.stdout, sys.stderr
    with open(os.devnull, "r+", encoding="utf-8") as nothing, warnings.catch_warnings():
        sys.stdin = sys.stdin or nothing
        output = _Output(sys.stdout or nothing, is_closed=1 in closed or sys.stdout is None)
        sys.stdout, sys.stderr = cast(TextIO, output), cast(TextIO, _Stream(sys.stderr or nothing))
        warnings.simplefilter("always", GobblerWarning)
        warnings.showwarning = functools.partial(_show_warning, warnings.showwarning)
        try:
            yield
        finally:
            sys.stdin, sys.stdout, sys.stderr = plain


def _show_warning(
    others: Callable[..., None],
    message: Warning | str,
    category: type[Warning],
    *place: Any,  # noqa: ANN401 - passed on
    **further: Any,  # noqa: ANN401
) -> None:
    if issubclass(category, GobblerWarning):
        note(f"warning: {message}")
    else:
        others(message, category, *place, **further)


def _open_if_closed(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        os.open(os.devnull, os.O_RDWR)  # gets the lowest free number: this one
        return True
    return False


def discard_output() -> None:
    """Drop what is buffered for a reader that went away: the interpreter would try once more."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), sys.stdout.fileno())


# What commands print.


def is_terminal() -> bool:
    """Whether the output is a terminal; otherwise, a script reads it."""
    return sys.stdout.isatty()


def console(*, err: bool = False) -> Console:
    """A console for tables and bars. All text for it must go through :func:`printable`."""
    from rich.console import Console

    stream = sys.stderr if err else sys.stdout
    file = getattr(stream, "plain", stream)
    return Console(file=file, markup=False, emoji=False, highlight=False)  # a name may hold :key:


_bars: list[Console] = []


@contextlib.contextmanager
def bar_on(shown: Console) -> Iterator[None]:
    """Print notes above the bar that is drawn on ``shown`` during the block."""
    _bars.append(shown)
    try:
        yield
    finally:
        _bars.remove(shown)


def note(text: str) -> None:
    """Print ``text`` on standard error, above a bar that is there."""
    if _bars and _bars[-1].is_terminal:
        from rich.text import Text

        with contextlib.suppress(OSError):
            _bars[-1].print(Text(escaped(text)), soft_wrap=True)
    else:
        click.echo(text, err=True)


def print_error(reason: str, hint: str = "") -> None:
    """Print an error on standard error. Further lines of a reason are indented."""
    click.echo("error: " + reason.replace("\n", "\n  "), err=True)
    if hint:
        click.echo("hint: " + hint.replace("\n", "\n  "), err=True)


def json_text(document: object) -> str:
    """``document`` as JSON, with everything escaped that a terminal would obey.

    A name that is not UTF-8 has the lone surrogates of :func:`os.fsdecode`, as escapes.
    """
    import msgspec

    try:
        text = msgspec.json.format(msgspec.json.encode(document), indent=2).decode()
    except UnicodeEncodeError:
        import json

        text = json.dumps(msgspec.to_builtins(document), indent=2)
    lines = text.split("\n")
    is_ascii = not is_utf8(sys.stdout)
    return "\n".join(json_printable(line, ascii_only=is_ascii) for line in lines)


def print_json(document: object) -> None:
    """Print ``document`` as the JSON document of a command."""
    click.echo(json_text(document))


def printable(name: str) -> str:
    """``name``, quoted and escaped unless it is safe to print."""
    return name if name.isprintable() and not name.startswith('"') else quoted(name)


def print_path(path: str) -> None:
    """Print a path on this machine: escaped on a terminal, for scripts as it is."""
    if is_terminal() or not isinstance(sys.stdout, _Output):
        click.echo(printable(path))
    else:
        sys.stdout.write_bytes(os.fsencode(path) + b"\n")


CONTENT_PIECE = 1 << 20


def print_content(file: BinaryIO) -> None:
    """Print the content of ``file``: as it is, but escaped on a terminal."""
    decode = codecs.getincrementaldecoder("utf-8")("surrogateescape").decode
    if not is_terminal() and isinstance(sys.stdout, _Output):
        while piece := file.read(CONTENT_PIECE):
            sys.stdout.write_bytes(piece)
    else:
        while piece := file.read(CONTENT_PIECE):
            sys.stdout.write(decode(piece).replace("\r\n", "\n"))
        sys.stdout.write(decode(b"", True))
    sys.stdout.flush()


def size(count: int) -> str:
    """A number of bytes: ``3.4 MB`` on a terminal, plain digits for scripts."""
    return decimal(count) if is_terminal() else str(count)


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, on_terminal: bool | None = None
) -> None:
    """Print rows: as a table on a terminal, otherwise as lines of fields between tabs.

    ``on_terminal`` overrides the check for a terminal. A column whose name starts with ``>``
    holds numbers.
    """
    if not (is_terminal() if on_terminal is None else on_terminal):
        for row in rows:
            click.echo("\t".join(printable(field) for field in row))
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        number = column.startswith(">")
        table.add_column(
            column.removeprefix(">"),
            justify="right" if number else "left",
            overflow="fold",
            no_wrap=number,
        )
    for row in rows:
        table.add_row(*(Text(printable(field)) for field in row))
    print_rich(table)


def print_rich(renderable: Table | Text) -> None:
    """Print what is styled. All text in it must have gone through :func:`printable`."""
    from rich.text import Text

    try:
        console().print(renderable, soft_wrap=isinstance(renderable, Text))
    except OSError as error:
        raise OutputLost(error) from None


def print_with_note(text: str, note: str) -> None:
    """Print a line of which a terminal shows the end, ``note``, dimmed."""
    if note and is_terminal():
        from rich.text import Text

        print_rich(Text(escaped(text)).append(escaped(note), "dim"))
    else:
        click.echo(text + note)


def print_facts(facts: Iterable[tuple[str, str]], *, err: bool = False) -> None:
    """Print names and values, one pair per line."""
    listed = list(facts)
    width = max((len(what) for what, _ in listed), default=0)
    for what, how in listed:
        click.echo(f"{what:<{width}}  {printable(how)}", err=err)
