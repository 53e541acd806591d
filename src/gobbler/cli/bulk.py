"""What commands with ``--all`` share: options, a progress bar, and the report at the end."""

from __future__ import annotations

import contextlib
import shlex
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, TypeVar

import click
from rich.filesize import decimal
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from gobbler.cli import terminal
from gobbler.cli.amounts import number
from gobbler.client import BulkRepair, RepairResult
from gobbler.client.address import parse_as
from gobbler.client.bulk.run import BulkCounter, BulkRun
from gobbler.errors import Fault, GobblerError, Unreachable
from gobbler.model.records import format_time

R = TypeVar("R")

RESUME = "The same command continues with the rest."

everything = click.option(
    "--all",
    "everything",
    is_flag=True,
    help="All versions of the registry, of PROJECT or of PROJECT/ASSET.",
)

parallel = click.option(
    "--parallel",
    default=1,
    show_default=True,
    type=click.IntRange(1, 64),
    help="With --all: work on N at a time.",
    metavar="N",
)

restart = click.option(
    "--restart", is_flag=True, help="With --all: start over instead of continuing."
)


def scope(address: str) -> tuple[str, str]:
    """The project and the asset that limit ``--all``; empty for no limit."""
    if not address:
        return "", ""
    place = parse_as(address, "project", "asset")
    return place.project, place.asset


def only_with_all(given: Mapping[str, object]) -> None:
    """Refuse options that need ``--all``."""
    context = click.get_current_context()
    default = {option.name: option.get_default(context) for option in context.command.params}
    for name, value in given.items():
        if value and value != default[name]:
            raise click.UsageError(f"--{name.replace('_', '-')} needs --all.")


def report_resumed(run: BulkRun[Any], note: Callable[[str], None] | None = None) -> None:
    """Report that an earlier run continues; by ``note`` while there is a bar."""
    if run.resumed is not None:
        text = (
            f"continuing the run of {format_time(run.resumed)}: {run.done_before} "
            f"done, {run.left} to go (--restart starts over)"
        )
        if note is None:
            click.echo(text, err=True)
        else:
            note(text)


def report_skipped(run: BulkRun[Any]) -> None:
    """Report what was left out because it is nobody's project, asset or version."""
    for entry in run.skipped:
        click.echo(f"skipped {entry}", err=True)


def described_skipped(run: BulkRun[Any]) -> list[dict[str, str]]:
    """The same, for JSON."""
    return [{"path": "/".join(entry.names), "problem": entry.problem} for entry in run.skipped]


class BulkBar:
    """A :class:`gobbler.client.bulk.run.BulkProgress` that draws a bar, and removes it at the end.

    ``title`` names the work, ``unit`` what the bar counts.
    """

    def __init__(self, title: str, unit: str) -> None:
        self._console = console = terminal.console(err=True)
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[message]}", markup=False),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            disable=not console.is_terminal,
        )
        self._unit = unit
        self._task = self._progress.add_task(title, total=None, message="")
        self._shown = contextlib.ExitStack()
        self._turn = threading.Lock()
        self._counter = BulkCounter()

    def expect(self, files: int, size: int | None) -> None:
        """Do nothing: the total is in versions."""

    def expect_versions(self, versions: int, size: int | None) -> None:
        """Show the total."""
        with self._turn:
            self._counter.expect_versions(versions, size)
            self._update()

    def advance_versions(self, versions: int) -> None:
        """Show how many versions are done."""
        with self._turn:
            self._counter.advance_versions(versions)
            self._update()

    def advance(self, files: int, size: int) -> None:
        """Show what is done of files and bytes."""
        with self._turn:
            self._counter.advance(files, size)
            self._update()

    def note(self, text: str) -> None:
        """Print ``text`` above the bar."""
        terminal.note(text)

    def _update(self) -> None:
        counter = self._counter
        parts = [f"{counter.versions}/{counter.versions_expected} {self._unit}"]
        if counter.files:
            parts.append(number(counter.files, "file"))
        if counter.bytes > 0:
            of = "" if counter.bytes_expected is None else f"/{decimal(counter.bytes_expected)}"
            parts.append(f"{decimal(counter.bytes)}{of}, {decimal(int(counter.rate))}/s")
        if (left := counter.seconds_left) is not None:
            parts.append(f"{_duration(left)} left")
        self._progress.update(
            self._task,
            total=counter.versions_expected,
            completed=counter.versions,
            message=", ".join(parts),
        )

    def __enter__(self) -> BulkBar:
        self._shown.enter_context(terminal.bar_on(self._console))
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end()

    def end(self) -> None:
        """Remove the bar."""
        self._progress.stop()
        self._shown.close()


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@contextlib.contextmanager
def reported_on_failure(report: Callable[[], None]) -> Iterator[None]:
    """Call ``report`` also if Ctrl-C or an error ends the block."""
    try:
        yield
    except KeyboardInterrupt:
        report()
        click.echo(RESUME, err=True)
        raise
    except Unreachable as error:
        report()
        raise Unreachable(error.reason, code=error.code, hint=RESUME) from error
    except (GobblerError, OSError):
        report()
        raise


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table unless it is empty."""
    if rows:
        terminal.print_table(columns, rows)


_COMMANDS = {
    "refresh_usage": "refresh usage",
    "refresh_latest": "refresh latest",
    "reindex_version": "reindex",
}


def repair(
    plan: Callable[[BulkBar], BulkRepair],
    doing: str,
    done: str,
    *,
    unit: str,
    as_json: bool,
    confirm: Callable[[BulkRepair], None] = report_resumed,
) -> int:
    """Carry out the repair that ``plan`` returns, after ``confirm``. Returns the exit code."""
    results: list[RepairResult] = []
    bar = BulkBar(doing, f"{unit}s")
    found = plan(bar)
    confirm(found)
    started = time.monotonic()
    with bar:

        def report() -> None:
            bar.end()
            seconds = time.monotonic() - started
            if as_json:
                terminal.print_json(_document(found, results, done, seconds))
            else:
                _report(found, results, done, unit, seconds)

        with reported_on_failure(report):
            results.extend(found)
    report()
    return Fault.exit_code if any(result.problem for result in results) else 0


def _report(
    found: BulkRepair, results: list[RepairResult], done: str, unit: str, seconds: float
) -> None:
    failed = [result for result in results if result.problem]
    rows = [
        (
            result.address,
            result.problem,
            _next_command(result),
        )
        for result in failed
    ]
    table(("what", "problem", "try next"), rows)
    report_skipped(found)
    count = number(len(results) - len(failed), unit)
    facts = [(done, f"{count} in {seconds:.1f} s")]
    if found.left:
        facts.append(("remaining", f"{found.left}: the same command continues with them"))
    if found.done_before:
        facts.append(("done before", str(found.done_before)))
    terminal.print_facts(facts, err=True)
    if failed:
        click.echo(f"error: {len(failed)} of {number(len(results), unit)} failed", err=True)


def _document(
    found: BulkRepair, results: list[RepairResult], done: str, seconds: float
) -> dict[str, Any]:
    return {
        "resumed": None if found.resumed is None else format_time(found.resumed),
        "done_before": found.done_before,
        done: [_described(result) for result in results if not result.problem],
        "failed": [_described(result) for result in results if result.problem],
        "remaining": found.left,
        "skipped": described_skipped(found),
        "seconds": round(seconds, 3),
    }


def _next_command(result: RepairResult) -> str:
    command = _COMMANDS.get(result.action)  # none for what is nobody's
    return f"gobbler {command} {shlex.quote(result.address)}" if command else ""


def _described(result: RepairResult) -> dict[str, Any]:
    names = {"project": result.project, "asset": result.asset, "version": result.version}
    described: dict[str, Any] = {what: name for what, name in names.items() if name}
    if result.problem:
        return {"action": result.action, **described, "problem": result.problem}
    kind = {"refresh_usage": "usage", "refresh_latest": "latest"}.get(result.action)
    return described | ({kind: result.found} if kind else {})
