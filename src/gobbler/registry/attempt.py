"""Attempts at a job: which process may answer it.

A worker that was taken for dead may come back when another one has begun the job again, and only
one of them may answer. So each attempt has a *token*, a file with a name that nobody else chose, in
the directory of the job's resumable workspace::

    ..incoming/{name}/
        {random}.attempt    the token of an attempt
        answer              the token of the attempt that answered, with the answer in it

A new attempt removes the tokens of all others. To answer, an attempt writes the answer into its
token, and renames it to ``answer``. Without its token, it can't. This relies on no lock.

(The lease of the workspace does not decide this: an attempt may fail before it makes one.)
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress

import msgspec

from gobbler.errors import Missing
from gobbler.fs.atomic_write import DIRECTORY_MODE, PRIVATE_FILE_MODE, write_all
from gobbler.fs.open import closing, exists
from gobbler.fs.record_file import read_file
from gobbler.model.names import INCOMING
from gobbler.model.records import decode
from gobbler.registry.unique_name import unique_name
from gobbler.registry.workspace import remove_if_empty

ATTEMPT_SUFFIX = ".attempt"
ANSWER = "answer"


class Superseded(Exception):
    """Another process has begun the job again."""


class Attempt:
    """An attempt of this process at the job with the resumable workspace ``name``."""

    def __init__(self, registry: str, name: str) -> None:
        self._directory = f"{registry}/{INCOMING}/{name}"
        self._token = f"{self._directory}/{unique_name()}{ATTEMPT_SUFFIX}"
        self._answer = f"{self._directory}/{ANSWER}"

    def begin(self, is_next: Callable[[], bool]) -> None:
        """Supersede all earlier attempts.

        ``is_next`` tells whether the job's record still is where this attempt has put it. A later
        attempt moves the record before it begins here, so of two attempts one finds the other.
        Raises :class:`Superseded`.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        while True:
            with suppress(FileExistsError):
                os.mkdir(self._directory, DIRECTORY_MODE)
            with suppress(FileNotFoundError):  # an earlier attempt has just removed it
                os.close(os.open(self._token, flags, PRIVATE_FILE_MODE))
                break
        if not is_next():
            self.withdraw()
            raise Superseded
        for name in os.listdir(self._directory):
            path = f"{self._directory}/{name}"
            if name.endswith(ATTEMPT_SUFFIX) and path != self._token:
                with suppress(FileNotFoundError):
                    os.unlink(path)

    def is_current(self) -> bool:
        """Whether no other process has begun the job again."""
        return exists(self._token)

    def earlier_answer(self) -> dict[str, object] | None:
        """The answer of an earlier attempt that could not deliver it."""
        try:
            return decode(read_file(self._answer, self._answer), dict[str, object], self._answer)
        except Missing:
            return None

    def answer(self, answer: dict[str, object]) -> None:
        """Answer the job.

        Raises :class:`Superseded`; then the job is somebody else's, and this process must
        change nothing of it any more.
        """
        try:
            with closing(os.open(self._token, os.O_WRONLY | os.O_CLOEXEC)) as token:
                write_all(token, msgspec.json.encode(answer))
            os.rename(self._token, self._answer)
        except FileNotFoundError:
            raise Superseded from None

    def withdraw(self) -> None:
        """Leave the job to others."""
        with suppress(FileNotFoundError):
            os.unlink(self._token)
        remove_if_empty(self._directory)

    def end(self) -> None:
        """Remove what is left of a job that is answered."""
        with suppress(FileNotFoundError):
            os.unlink(self._answer)
        self.withdraw()
