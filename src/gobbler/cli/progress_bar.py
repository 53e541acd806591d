"""The progress bar of a command that copies, fetches or waits."""

from __future__ import annotations

import contextlib
import sys
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, cast

from gobbler.cli import terminal

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID


class _Notes:
    """Prints what the work waits for, each thing once, also where no bar is drawn."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def tell(self, note: str) -> None:
        if note and note not in self._told:
            self._told.add(note)
            terminal.note(terminal.printable(note))


class _Drawing(Protocol):
    """What is used of a progress bar of ``rich``."""

    def reset(self, task_id: TaskID, **fields: Any) -> None: ...  # noqa: ANN401 - of rich

    def update(self, task_id: TaskID, **fields: Any) -> None: ...  # noqa: ANN401 - of rich

    def start(self) -> None: ...

    def stop(self) -> None: ...


class _Undrawn:
    """Takes the place of a bar that nobody sees, so a script need not load what draws it."""

    def reset(self, task_id: TaskID, **fields: object) -> None:
        """Do nothing."""

    def update(self, task_id: TaskID, **fields: object) -> None:
        """Do nothing."""

    def start(self) -> None:
        """Do nothing."""

    def stop(self) -> None:
        """Do nothing."""


class _Phase:
    """A later phase of work, shown by the same bar."""

    def __init__(self, progress: _Drawing, task: TaskID, title: str, notes: _Notes) -> None:
        self.waits_for = notes.tell
        self._progress = progress
        self._task = task
        self._title = title
        self._done = 0

    def expect(self, files: int, size: int | None) -> None:
        """Set the total, and start at zero."""
        self._done = 0
        self._progress.reset(self._task, description=self._title, total=size, done=0, files=files)

    def advance(self, files: int, size: int) -> None:
        """Add to what is done."""
        self._done += files
        self._progress.update(self._task, advance=size, done=self._done)


class Bar:
    """A :class:`gobbler.model.progress.Progress` that draws a bar, and removes it at the end.

    ``title`` names the work, ``afterwards`` the work that follows the last file.
    """

    def __init__(self, title: str, afterwards: str = "") -> None:
        self._notes = _Notes()
        self._shown = contextlib.ExitStack()
        title = terminal.printable(title)
        self._title = title
        self._afterwards = afterwards
        self._files: int | None = None
        self._done = 0
        first = afterwards or title
        self._console: Console | None = None
        self._progress: _Drawing = _Undrawn()
        self._task: TaskID = cast("TaskID", 0)
        if sys.stderr.isatty():
            self._console = terminal.console(err=True)
            drawn = _bar_on(self._console)
            self._task = drawn.add_task(first, total=None, done=0, files="?")
            self._progress = drawn

    def expect(self, files: int, size: int | None) -> None:
        """Set the total."""
        self._files = files
        self._progress.update(self._task, description=self._title, files=files, total=size)

    def advance(self, files: int, size: int) -> None:
        """Add to what is done."""
        self._done += files
        if self._afterwards and self._done == self._files:
            self._progress.reset(
                self._task, description=self._afterwards, total=None, done=0, files="?"
            )
        else:
            self._progress.update(self._task, advance=size, done=self._done)

    def next(self, title: str) -> _Phase:
        """The progress of a later phase, under its own ``title``."""
        return _Phase(self._progress, self._task, title, self._notes)

    def waits_for(self, note: str) -> None:
        """Say what the work waits for."""
        self._notes.tell(note)

    def __enter__(self) -> Bar:
        if self._console is not None:
            self._shown.enter_context(terminal.bar_on(self._console))
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()
        self._shown.close()


def _bar_on(console: Console) -> Progress:
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
    )

    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[done]}/{task.fields[files]} files"),
        DownloadColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
