"""The source of an upload: identified once, and compared whenever it is opened again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from gobbler.errors import Code, Forbidden, Refused, quoted
from gobbler.fs.authorship import Authorship
from gobbler.fs.open import (
    DIRECTORY,
    account_name,
    closing,
    enter_directory,
    open_users_directory,
)
from gobbler.fs.os_errors import with_path
from gobbler.model.names import is_internal
from gobbler.transfer.scan import refusal


@dataclass(frozen=True)
class StagedSource:
    """An identified directory in staging.

    ``device``, ``inode`` and ``owner`` distinguish it from a directory that a user puts in its
    place. Another host may know the device by another number: if ``is_inside``, it is the device
    of the staging directory.
    """

    staging: str
    name: str
    device: int
    inode: int
    owner: int
    is_inside: bool = False

    @classmethod
    def identify(
        cls, staging: str, name: str, *, uid: int, user: str, authorship: Authorship
    ) -> StagedSource:
        """The directory ``name`` in staging, which must be the work of ``uid``, called ``user``.

        Raises :class:`~gobbler.errors.Refused` or :class:`~gobbler.errors.Forbidden`.
        """
        if name in ("", ".") or "/" in name or "\0" in name or is_internal(name):
            raise Refused(
                f"`source` must be the bare name of a directory in staging, not {quoted(name)}",
                code=Code.INVALID_NAME,
            )
        path = f"{staging}/{name}"
        with closing(enter_directory(staging)) as parent:
            descriptor, status = open_users_directory(parent, name, "source directory", staging)
            with closing(descriptor):
                with with_path(staging):
                    is_inside = status.st_dev == os.fstat(parent).st_dev
                if status.st_uid != uid:
                    owner = account_name(status.st_uid, f"source directory {quoted(name)}")
                    raise Forbidden(
                        f"source directory {quoted(name)} belongs to {quoted(owner)}, "
                        f"not to the requester {quoted(user)}",
                        code=Code.FOREIGN_SOURCE,
                    )
                authorship.check(descriptor, status, "source directory", path)
        return cls(staging, name, status.st_dev, status.st_ino, status.st_uid, is_inside)

    @property
    def path(self) -> str:
        """The path of the directory."""
        return f"{self.staging}/{self.name}"

    @contextmanager
    def opened(self) -> Iterator[int]:
        """Open it. Raises :class:`~gobbler.errors.Refused` if another directory is there now."""
        with closing(enter_directory(self.staging)) as staging:
            try:
                descriptor = os.open(self.name, DIRECTORY, dir_fd=staging)
            except OSError as error:
                raise refusal(error, self.name, self.path) from None
            with closing(descriptor), with_path(self.path):
                status = os.fstat(descriptor)
                is_same_device = status.st_dev == self.device or (
                    self.is_inside and status.st_dev == os.fstat(staging).st_dev
                )
                found = (status.st_ino, status.st_uid)
                if not is_same_device or found != (self.inode, self.owner):
                    raise Refused(
                        f"the source {quoted(self.name)} was replaced while it was read",
                        code=Code.SOURCE_CHANGED,
                    )
                yield descriptor
