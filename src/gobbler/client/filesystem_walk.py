"""Walking a directory of a filesystem of ``fsspec``, however deep it is.

The walk of ``fsspec`` calls itself for each level, and fails below a thousand of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal

from fsspec.spec import AbstractFileSystem

Info = dict[str, Any]

OnError = Literal["omit", "raise"] | Callable[[OSError], object]

Level = tuple[str, Any, Any]
"""A directory, its directories, and its files: dictionaries of details, or lists of names."""


class WalkableFileSystem(AbstractFileSystem):  # type: ignore[misc] # fsspec has no types
    """A filesystem whose directories may be nested in each other as deep as a path can say."""

    def walk(
        self,
        path: str,
        maxdepth: int | None = None,
        topdown: bool = True,
        on_error: OnError = "omit",
        detail: bool = False,
        **_: object,
    ) -> Iterator[Level]:
        """Each directory below ``path``, with its directories and files."""
        if maxdepth is not None and maxdepth < 1:
            raise ValueError("maxdepth must be at least 1")
        return _walk(
            self.ls,
            str(self._strip_protocol(path)),
            maxdepth=maxdepth,
            topdown=topdown,
            on_error=on_error,
            detail=detail,
        )


def _walk(
    listing: Callable[[str], Iterable[Info]],
    top: str,
    *,
    maxdepth: int | None,
    topdown: bool,
    on_error: OnError,
    detail: bool,
) -> Iterator[Level]:
    """Walk ``top`` as ``AbstractFileSystem.walk`` does, which documents the arguments.

    ``listing`` lists a directory. With ``topdown``, the caller may take directories away.
    """
    ways: list[tuple[Iterator[str], Level | None]] = [(iter([top]), None)]
    while ways:
        children, above = ways[-1]
        path = next(children, None)
        if path is None:
            ways.pop()
            if above is not None:
                yield above
            continue
        try:
            inner, directories, files = _sorted_out(listing(path), path)
        except OSError as error:
            if on_error == "raise":
                raise
            if callable(on_error):
                on_error(error)
            continue
        level: Level = (path, directories, files)
        if not detail:
            level = (path, list(directories), list(files))
        if topdown:
            yield level
        if maxdepth is None or len(ways) < maxdepth:
            ways.append((iter([inner[name] for name in level[1]]), None if topdown else level))
        elif not topdown:
            yield level


def _sorted_out(
    found: Iterable[Info], path: str
) -> tuple[Mapping[str, str], dict[str, Info], dict[str, Info]]:
    """The paths of the directories by name; directories, and files, by name."""
    inner: dict[str, str] = {}
    directories: dict[str, Info] = {}
    files: dict[str, Info] = {}
    for info in found:
        whole = str(info["name"]).rstrip("/")
        name = whole.rsplit("/", 1)[-1]
        if info["type"] == "directory" and whole != path:
            inner[name] = whole
            directories[name] = info
        else:
            files["" if whole == path else name] = info
    return inner, directories, files
