"""``GET /list``: the content of a directory of the registry."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import Executor

from starlette.requests import Request
from starlette.responses import Response

from gobbler.errors import Code, Refused, os_error_code, quoted
from gobbler.model.names import INCOMING
from gobbler.registry.foreign import skip
from gobbler.service.registry_files import absent, registry_path
from gobbler.service.responses import json_answer


class ListRoute:
    """Lists directories of ``registry`` in ``threads``."""

    def __init__(self, registry: str, threads: Executor) -> None:
        self._registry = registry
        self._threads = threads

    async def answer(self, request: Request) -> Response:
        """Answer one request."""
        query = request.query_params
        recursive = query.get("recursive", "false").lower() in ("true", "1")
        path = query.get("path", "")
        found = await asyncio.get_running_loop().run_in_executor(
            self._threads, lambda: list_directory(self._registry, path, recursive=recursive)
        )
        return json_answer(found)


def list_directory(registry: str, path: str, *, recursive: bool) -> list[str]:
    """Paths below ``path``, relative to it, in order.

    Not recursive: its entries, directories with a trailing ``/``. Recursive: every file, and empty
    directories with a trailing ``/``. Links count as files and are not followed. Leaves out
    versions in preparation. A directory below ``path`` that is closed to the service is listed as
    if it were empty. In names, bytes that are not UTF-8 are replaced.

    Raises :class:`~gobbler.errors.Refused` or :class:`~gobbler.errors.Missing`.
    """
    relative = registry_path(path)
    directory = f"{registry}/{relative}" if relative else registry
    if any(os.path.islink(f"{registry}/{part}") for part in _parents(relative)):
        raise Refused(
            f"{quoted(path)} is or leads through a symbolic link", code=Code.SYMBOLIC_LINK
        )
    try:
        found = _whole_tree(directory) if recursive else _entries(directory)
    except FileNotFoundError:
        raise absent(path) from None
    except NotADirectoryError:
        if os.path.lexists(directory):
            raise Refused(
                f"{quoted(path)} is not a directory of the registry", code=Code.NOT_A_DIRECTORY
            ) from None
        raise absent(path) from None
    except OSError as error:
        raise Refused(
            f"could not list {quoted(path)}: {error.strerror}", code=os_error_code(error)
        ) from None
    if relative == "":
        found = [name for name in found if name.split("/", 1)[0] != INCOMING]
    return sorted(map(_text, found))


def _text(name: str) -> str:
    """``name`` as JSON can hold it; the Go service writes it the same way."""
    if name.isascii():
        return name
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _parents(relative: str) -> list[str]:
    parts = relative.split("/") if relative else []
    return ["/".join(parts[: i + 1]) for i in range(len(parts))]


def _entries(directory: str) -> list[str]:
    with os.scandir(directory) as entries:
        return [
            entry.name + "/" if entry.is_dir(follow_symlinks=False) else entry.name
            for entry in entries
        ]


def _whole_tree(top: str) -> list[str]:
    # If a version vanishes during the walk, none of it may be listed: walk again.
    while True:
        try:
            return _tree(top)
        except FileNotFoundError:
            os.stat(top)


def _tree(top: str) -> list[str]:
    found: list[str] = []
    waiting = [("", top)]
    while waiting:
        prefix, directory = waiting.pop()
        count = 0
        try:
            with os.scandir(directory) as entries:
                for entry in entries:
                    count += 1
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append((f"{prefix}{entry.name}/", entry.path))
                    else:
                        found.append(prefix + entry.name)
        except PermissionError as error:
            if not prefix:
                raise
            skip(directory, error)
        if count == 0 and prefix:
            found.append(prefix)
    return found
