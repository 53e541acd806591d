"""Reading a registry that is mounted on this machine."""

from __future__ import annotations

import os

from gobbler.client.errors import NotThere
from gobbler.errors import Refused, quoted
from gobbler.names import INCOMING, LOGS, USAGE

NO_REGISTRY = "The registry is the directory that the service was started with as --registry."


class LocalSource:
    """The registry in the directory ``root``, read without a service."""

    def __init__(self, root: str) -> None:
        self.root = root

    def directories(self, path: str) -> list[str]:
        """Names of the directories in ``path``, internal ones too.

        Raises :class:`~gobbler.errors.Refused` if the root is asked for and is no registry.
        """
        try:
            with os.scandir(self._join(path)) as entries:
                # An administrator may have put a link to another disk for a project.
                found = [entry.name for entry in entries if entry.is_dir()]
        except (FileNotFoundError, NotADirectoryError):
            raise self._missing(path) from None
        if path == "." and found and not self._is_registry(found):
            raise Refused(
                f"{self.root} is not a registry: no directory in it is a project", hint=NO_REGISTRY
            )
        return found

    def _is_registry(self, names: list[str]) -> bool:
        # A copy of some projects has nothing but these; an asset may have permissions, too.
        return any(
            name in (LOGS, INCOMING) or os.path.exists(self._join(f"{name}/{USAGE}"))
            for name in names
        )

    def walk(self, path: str) -> list[str]:
        """Relative paths of every file below ``path``, and of empty directories."""
        found: list[str] = []
        pending = [""]
        while pending:
            directory = pending.pop()
            try:
                with os.scandir(self._join(f"{path}/{directory}")) as entries:
                    listed = [
                        (entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries
                    ]
            except (FileNotFoundError, NotADirectoryError):
                raise self._missing(path) from None
            if directory and not listed:
                found.append(directory)
            for name, is_directory in listed:
                if is_directory:
                    pending.append(f"{directory}{name}/")
                else:
                    found.append(f"{directory}{name}")
        return found

    def read(self, path: str) -> bytes:
        """The content of the file ``path``."""
        with open(self.file(path), "rb") as file:
            return file.read()

    def file(self, path: str) -> str:
        """Where the file ``path`` stands on this machine."""
        full = self._join(path)
        if os.path.isdir(full):
            raise Refused(
                f"{quoted(path)} is a directory", hint="Ask for it as a directory, not as a file."
            )
        if not os.path.exists(full):
            raise self._missing(path)
        return full

    def directory(self, path: str) -> str:
        """Where the directory ``path`` stands on this machine."""
        full = self._join(path)
        if not os.path.exists(full):
            raise self._missing(path)
        if not os.path.isdir(full):
            raise Refused(f"{quoted(path)} is a file", hint="Ask for it as a file.")
        return full

    def _join(self, path: str) -> str:
        return os.path.join(self.root, path)

    def _missing(self, path: str) -> NotThere:
        """The error that names the first component of ``path`` that is not there."""
        parts = path.split("/")
        here = self.root
        for depth, part in enumerate(parts):
            here = os.path.join(here, part)
            if not os.path.exists(here):
                what = ("project", "asset", "version", "file")[min(depth, 3)]
                if part.startswith(".."):
                    what = "file"
                name = quoted("/".join(parts[: depth + 1]))
                reason = f"{what} {name} is not in the registry {self.root}"
                return NotThere(reason, self._join(path))
        return NotThere(f"{quoted(path)} is not in the registry {self.root}", self._join(path))
