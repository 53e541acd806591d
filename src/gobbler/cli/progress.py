"""A bar on standard error for what takes long; nothing where that is no terminal."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)


class _Phase:
    """A later part of the work that one bar shows."""

    def __init__(self, progress: Progress, task: TaskID, title: str) -> None:
        self._progress = progress
        self._task = task
        self._title = title
        self._done = 0

    def expect(self, files: int, size: int | None) -> None:
        """Know what there is to do, all of it ahead."""
        self._done = 0
        self._progress.reset(self._task, description=self._title, total=size, done=0, files=files)

    def advance(self, files: int, size: int) -> None:
        """Know what is done."""
        self._done += files
        self._progress.update(self._task, advance=size, done=self._done)


class Bar:
    """A :class:`gobbler.model.progress.Progress` for people; vanishes in the end.

    ``title`` says what is under way, ``afterwards`` what goes on once all files are done.
    """

    def __init__(self, title: str, afterwards: str = "") -> None:
        console = Console(stderr=True)
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[done]}/{task.fields[files]} files"),
            DownloadColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._title = title
        self._afterwards = afterwards
        self._files: int | None = None
        self._done = 0
        first = afterwards or title
        self._task = self._progress.add_task(first, total=None, done=0, files="?")

    def expect(self, files: int, size: int | None) -> None:
        """Know what there is to do."""
        self._files = files
        self._progress.update(self._task, description=self._title, files=files, total=size)

    def advance(self, files: int, size: int) -> None:
        """Know what is done."""
        self._done += files
        if self._afterwards and self._done == self._files:
            self._progress.reset(
                self._task, description=self._afterwards, total=None, done=0, files="?"
            )
        else:
            self._progress.update(self._task, advance=size, done=self._done)

    def next(self, title: str) -> _Phase:
        """What comes after that, under another ``title``; a progress of its own."""
        return _Phase(self._progress, self._task, title)

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()
