"""The staging directory, and whether a user can leave something in it that speaks for the user.

A request file counts as the word of its owner. Whoever owns the directory that it is in, or can
write there without a sticky bit, can move it to where another service takes it. So the directory
must belong to root, to the user, or to the account of the service, and be safe from others. All
is checked on one descriptor, through which the file is then made.

A file or directory is made so that nobody else can write it and everybody can read it, whatever
the umask or a default ACL says.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from gobbler.client.errors import NotThere
from gobbler.errors import Code, Forbidden, GobblerError
from gobbler.fs import acl
from gobbler.fs.atomic_write import DIRECTORY_MODE, FILE_MODE
from gobbler.fs.authorship import other_writers
from gobbler.fs.open import DIRECTORY, closing, enter_directory, user_name
from gobbler.fs.os_errors import fault_at

SERVICE_DIRECTORY_MODE = 0o775
"""The mode of a directory below one with a default ACL: the group's bits are the mask there."""


def anybody(uid: int) -> bool:
    """Take any account for that of the service: the user has named the directory."""
    del uid
    return True


class MadeDirectory(NamedTuple):
    """A new directory in staging: its ``descriptor``, through which it is to be filled.

    Whoever may rename a directory on the way can let its path lead elsewhere. If the service
    ``has_acl`` in it, directories below are made with :data:`SERVICE_DIRECTORY_MODE`.
    """

    descriptor: int
    has_acl: bool


@dataclass(frozen=True)
class StagingDirectory:
    """The staging directory at ``path``.

    ``is_service`` says whether a user ID is that of the service's account.
    """

    path: str
    is_service: Callable[[int], bool] = anybody

    def __str__(self) -> str:
        return self.path

    @contextlib.contextmanager
    def entered(self) -> Iterator[int]:
        """A descriptor of the directory.

        Raises :class:`~gobbler.client.errors.NotThere` if it is not on this machine, and
        :class:`~gobbler.errors.Forbidden` if others could move what the user puts there.
        """
        try:
            descriptor = enter_directory(self.path)
        except (FileNotFoundError, NotADirectoryError):
            raise staging_missing(self.path) from None
        except PermissionError:
            raise staging_closed(self.path) from None
        with closing(descriptor):
            self.check(descriptor, self.path)
            yield descriptor

    def check(self, descriptor: int, path: str) -> None:
        """Check an open directory, which is staging itself or in it.

        Raises :class:`~gobbler.errors.Forbidden` if others could move what the user puts there.
        """
        status = os.fstat(descriptor)
        owner = status.st_uid
        if owner not in (0, os.geteuid()) and not _is_hidden(owner) and not self.is_service(owner):
            raise Forbidden(
                f"the directory {path} belongs to {user_name(owner)}, who is neither root nor the "
                f"owner of the registry, and could use your requests for something else",
                code=Code.UNTRUSTED_STAGING,
                hint=f"Check the address of the service: gobbler info. If {user_name(owner)} does "
                f"run it, name its registry on this machine with --registry.",
            )
        if status.st_mode & stat.S_ISVTX or not status.st_mode & 0o022:
            return
        try:
            found = acl.read(f"/proc/self/fd/{descriptor}", acl.ACCESS_ACL)
        except ValueError:
            found = None
        writers = list(other_writers(status, found))
        if writers:
            raise Forbidden(
                f"{' and '.join(writers)} can move your files out of the directory {path}, which "
                f"has no sticky bit",
                code=Code.UNTRUSTED_STAGING,
                hint=f"Its owner {user_name(owner)} sets it with: chmod +t {path}",
            )

    def write(self, directory: int, name: str, data: bytes) -> None:
        """Create the file ``name`` in an open directory; it is readable, and only yours.

        Raises :class:`~gobbler.errors.Forbidden` if the user may not, or if others could write it,
        and :class:`~gobbler.errors.Fault` if the filesystem fails, as when it is full.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        with self._faults("put a request file into"):
            with self._refused():
                descriptor = os.open(name, flags, 0o600, dir_fd=directory)
            try:
                with open(descriptor, "wb") as file:
                    acl.remove(descriptor, FILE_MODE)
                    self._check_made(descriptor, "files")
                    file.write(data)
            except BaseException:
                os.unlink(name, dir_fd=directory)
                raise

    @contextlib.contextmanager
    def made_directory(self, name: str) -> Iterator[MadeDirectory]:
        """Make the directory ``name`` in staging, and fill it; it is readable, and only yours.

        The service's account keeps what a default ACL of staging grants to it. Raises what
        :meth:`write` raises.
        """
        with self.entered() as staging, self._faults("make a directory in"):
            with self._refused():
                os.mkdir(name, 0o700, dir_fd=staging)
            made = -1
            try:
                made = os.open(name, DIRECTORY, dir_fd=staging)
                granted = self._limit_acl(made)
                self._check_made(made, "directories")
            except BaseException:
                if made >= 0:
                    os.close(made)
                os.rmdir(name, dir_fd=staging)
                raise
        with closing(made):
            yield MadeDirectory(made, granted)

    def _limit_acl(self, directory: int) -> bool:
        """Leave in the ACLs of a new directory what they grant to the service; whether any."""
        try:
            inherited = acl.read(directory, acl.DEFAULT_ACL)
        except ValueError:
            inherited = None
        acl.remove(directory, DIRECTORY_MODE)
        entries = inherited.entries if inherited is not None else ()
        own = [e for e in entries if e.tag == acl.USER and self._is_certain_service(e.id)]
        if not own:
            return False
        limited = acl.with_users(DIRECTORY_MODE, own)
        for attribute in (acl.ACCESS_ACL, acl.DEFAULT_ACL):
            os.setxattr(directory, attribute, limited.packed())
        return True

    def _is_certain_service(self, uid: int) -> bool:
        return self.is_service is not anybody and self.is_service(uid)

    def _check_made(self, descriptor: int, what: str) -> None:
        status = os.fstat(descriptor)
        found = acl.read(descriptor, acl.ACCESS_ACL)
        mode = f"mode {stat.S_IMODE(status.st_mode):04o}"
        others = list(other_writers(status, found, trusts=self._is_certain_service))
        if others:
            problem = f"{' and '.join(others)} could write your {what} there ({mode})"
        elif status.st_uid != os.geteuid():
            problem = f"your {what} there belong to {user_name(status.st_uid)}"
        elif not status.st_mode & stat.S_IROTH:
            problem = f"others can't read your {what} there ({mode})"
        else:
            return
        raise Forbidden(
            f"the filesystem of the staging directory {self.path} does not keep permissions: "
            f"{problem}",
            code=Code.UNTRUSTED_STAGING,
            hint="Ask the administrator to examine it with: gobbler doctor",
        )

    @contextlib.contextmanager
    def _faults(self, operation: str) -> Iterator[None]:
        try:
            yield
        except GobblerError:
            raise
        except OSError as error:
            fault = fault_at(error, operation, self.path)
            if fault.code is Code.DISK_FULL:
                fault.hint = FULL_HINT
            raise fault from error

    @contextlib.contextmanager
    def _refused(self) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, NotADirectoryError):
            raise staging_missing(self.path) from None
        except PermissionError:
            raise staging_closed(self.path) from None


FULL_HINT = (
    "Remove a file of yours from that filesystem: `gobbler staging clean` removes what you left in "
    "staging. Or ask its administrator: root may still write to many a filesystem that is full."
)
"""The hint where not even a request fits into staging."""


def _is_hidden(uid: int) -> bool:
    """Whether ``uid`` stands for all accounts outside of this container, root among them."""
    try:
        with open("/proc/sys/kernel/overflowuid", encoding="ascii") as file:
            if int(file.read()) != uid:
                return False
        with open("/proc/self/uid_map", encoding="ascii") as file:
            return sum(int(line.split()[2]) for line in file) < 0xFFFFFFFF
    except (OSError, ValueError, IndexError):
        return False


def staging_missing(staging: str) -> NotThere:
    """The error for a staging directory that is not on this machine."""
    return NotThere(
        f"the staging directory {staging} is not on this machine",
        staging,
        hint="Changes need the filesystem of the service. Run this where it is mounted.",
    )


def staging_closed(staging: str) -> Forbidden:
    """The error for a staging directory in which the user can't write."""
    return Forbidden(
        f"you can't write in the staging directory {staging}",
        code=Code.UNWRITABLE,
        hint="Its mode should be 1733. Ask the administrator of the service to correct it.",
    )
