"""The errors of this package, for users and programs.

Every error has a *code*, a stable word on which programs decide; a reason and a hint, which are
texts for users and may change; an HTTP status, which the service answers; and an exit code, with
which the command line ends.

===========  ====  =========  ==================================================
class        HTTP  exit code  meaning
===========  ====  =========  ==================================================
Refused      400           3  the request is wrong; sending it again is no use
Forbidden    403           4  the user may not do that
Missing      404           5  a project, asset, version or file is not there
Fault        500           1  the service or its filesystem failed
Unreachable  -             6  no service answered
Cancelled    500         130  stopped on request; nothing was changed
  by owner   409         130  the same, because whoever asked for it wanted that
===========  ====  =========  ==================================================

Exit code 2 is a wrong command line (``click``'s own). :class:`Code` lists all codes.
"""

from __future__ import annotations

import enum
import errno
from collections.abc import Mapping, Sequence
from typing import ClassVar


class Code(str, enum.Enum):
    """The kind of error, as a word that never changes its meaning.

    The field ``code`` of an answer of the service and of ``--json`` has the value. Add a code only
    if a program could act on it differently than on the others.
    """

    description: str

    def __new__(cls, value: str, description: str) -> Code:
        """A code that is the string ``value``; ``description`` is for the reference."""
        code = str.__new__(cls, value)
        code._value_ = value
        code.description = description
        return code

    def __str__(self) -> str:
        return str(self.value)

    # A request, before the service carries it out.
    INVALID_REQUEST = "invalid-request", "The request is wrong: a field, or the change itself."
    MALFORMED_REQUEST = "malformed-request", "The content of the request file can't be decoded."
    UNKNOWN_ACTION = "unknown-action", "The name of the request file names no action."
    INVALID_NAME = "invalid-name", "A name of a project, asset, version or file is not valid."
    MISSING_REQUEST = "missing-request", "The request file is not in the staging directory."
    EXPIRED_REQUEST = "expired-request", "The request file was written a minute or more ago."
    REPEATED_REQUEST = "repeated-request", "The service has begun the request before."
    REQUEST_TOO_LARGE = "request-too-large", "The request file is larger than 1 MiB."
    NOT_A_FILE = "not-a-file", "A regular file was expected, and something else is there."
    NOT_A_DIRECTORY = "not-a-directory", "A directory was expected, and something else is there."
    SYMBOLIC_LINK = "symbolic-link", "A symbolic link stands where none may be."
    HARD_LINK = "hard-link", "A file has more than one hard link."
    WRITABLE_BY_OTHERS = "writable-by-others", "Others than its owner can write the file."
    UNREADABLE = "unreadable", "The service may not read a file or directory of the user."
    UNWRITABLE = "unwritable", "The user may not write a file or directory on this machine."
    FILE_IN_USE = "file-in-use", "Another process holds a lease on the file."
    UNKNOWN_ENDPOINT = "unknown-endpoint", "The service has no such endpoint."
    METHOD_NOT_ALLOWED = "method-not-allowed", "The endpoint does not take that HTTP method."
    PRECONDITION_FAILED = "precondition-failed", "A condition such as `If-Match` does not hold."
    INVALID_RANGE = "invalid-range", "The range starts behind the end of the file."

    # Who may do what.
    NOT_ALLOWED = "not-allowed", "The user may not do that."
    NO_ACCOUNT = "no-account", "The owner of the file has no account on this host."
    FOREIGN_SOURCE = "foreign-source", "The source directory belongs to another user."
    FOREIGN_JOB = "foreign-job", "The job belongs to another user."

    # Existing and missing objects.
    NOT_FOUND = "not-found", "An object that the request names does not exist."
    PROJECT_NOT_FOUND = "project-not-found", "The project does not exist."
    ASSET_NOT_FOUND = "asset-not-found", "The asset does not exist."
    VERSION_NOT_FOUND = "version-not-found", "The version does not exist."
    FILE_NOT_FOUND = "file-not-found", "The file or directory does not exist."
    JOB_NOT_FOUND = "job-not-found", "There is no such job, or its answer has expired."
    PROJECT_EXISTS = "project-exists", "A project of that name exists already."
    VERSION_EXISTS = "version-exists", "A version of that name exists already."

    # Problems that an action finds.
    MISSING_SOURCE = "missing-source", "The source directory is not in the staging directory."
    INVALID_SOURCE = "invalid-source", "The source has entries that can't be published."
    SOURCE_CHANGED = "source-changed", "The source changed while it was read."
    NOT_REVIEWED = "not-reviewed", "The version on probation is not the one that was reviewed."
    NO_OWNER = "no-owner", "The change would leave a project without an owner."
    NOT_ON_PROBATION = "not-on-probation", "The version is final already."
    VERSION_CHANGED = "version-changed", "The version changed during the request."
    INVALID_VERSION = "invalid-version", "The version differs from its records."
    INCOMPLETE_VERSION = (
        "incomplete-version",
        "The version has no manifest or no summary: its upload goes on, or broke off.",
    )
    JOB_ENDED = "job-ended", "The job has ended, so it can't be cancelled."
    WOULD_BREAK_LINKS = "would-break-links", "The deletion would break links of other versions."

    # Failures of the service, which may succeed later.
    INTERNAL_ERROR = "internal-error", "The service failed; see its log."
    IO_ERROR = "io-error", "A call to the filesystem failed."
    DISK_FULL = "disk-full", "A filesystem has no space left, or the account no quota."
    READ_ONLY = "read-only", "A filesystem is mounted read-only."
    DAMAGED_RECORD = "damaged-record", "A record of the registry can't be read or is wrong."
    DAMAGED_LINKS = "damaged-links", "Links of the registry lead nowhere or in a circle."
    NOT_DURABLE = "not-durable", "The change was made, but a power cut may undo it."
    LOCK_TIMEOUT = "lock-timeout", "Another service held a lock for too long."
    CONTENTION = "contention", "Other processes kept changing the same data."
    WORKSPACE_IN_USE = "workspace-in-use", "Another process still works on the same job."
    WORKER_DIED = "worker-died", "The job began several times, and its worker died each time."
    EXECUTOR_FAILED = "executor-failed", "An executor could not run a batch."
    EXECUTOR_BROKEN = (
        "executor-broken",
        "A process of the executor was killed, so it takes no more work; a job goes on elsewhere.",
    )
    BUSY = "busy", "Too many requests run and wait already; send the request again later."
    STOPPING = "stopping", "The service stops; it has not begun the request, or rolled it back."
    UNHEALTHY = "unhealthy", "The service can't use the registry, staging or the spool now."
    CANCELLED = "cancelled", "The work was stopped on request; nothing was changed."
    CLIENT_GONE = "client-gone", "The client disconnected before the request ended."

    # Settings of a service or a client.
    MISCONFIGURED = "misconfigured", "A setting or a directory prevents it from working."
    SERVICE_NOT_FOUND = "service-not-found", "No configuration file describes that service."
    INVALID_CONFIGURATION = "invalid-configuration", "A configuration file is wrong."

    # Between a client and a service.
    NO_ANSWER = "no-answer", "No service answered."
    CONNECTION_LOST = "connection-lost", "The connection broke in the middle of an answer."
    TIMEOUT = "timeout", "The service did not answer in time."
    OFFLINE = "offline", "The client works offline, so it asks no service."
    UNTRUSTED = "untrusted", "The certificate of the service is not trusted."
    UNAVAILABLE = "unavailable", "A proxy answered that there is no service behind it."
    INVALID_ANSWER = "invalid-answer", "The answer does not come from a service of this protocol."
    WRONG_STAGING = "wrong-staging", "The staging directory is not the one of the service."
    UNTRUSTED_STAGING = (
        "untrusted-staging",
        "Others could misuse what you put into the staging directory.",
    )
    CONTENT_MISMATCH = "content-mismatch", "The fetched content differs from the manifest."
    CONTENT_CHANGED = "content-changed", "A file changed while it was read."

    # The command line and the client's own files.
    USAGE = "usage", "The command line is wrong: an option, or the number of arguments."
    INVALID_ADDRESS = "invalid-address", "The address names an object of the wrong kind."
    DESTINATION_EXISTS = "destination-exists", "The destination exists already."
    UNUSABLE_INDEX = "unusable-index", "The file of the index can't be used."


class GobblerWarning(UserWarning):
    """The base of all warnings of this package: what users should know although nothing failed."""


class GobblerError(Exception):
    """The base of all errors of this package.

    ``str()`` returns the reason alone; ``hint`` (may be empty) says what to do next. Both may quote
    what comes from elsewhere: control characters in them are escaped, but line breaks. Programs
    decide by ``code``: a :class:`Code`, or the word of a newer service that this release does not
    know. ``fields`` are further fields of the service's answer. It can be pickled and copied with
    all of them.
    """

    status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1
    default_code: ClassVar[Code] = Code.INTERNAL_ERROR

    def __init__(
        self,
        reason: str,
        *,
        code: Code | str | None = None,
        hint: str = "",
        fields: Mapping[str, object] | None = None,
    ) -> None:
        reason = printable(reason)
        super().__init__(reason)
        self.reason = reason
        self.code: Code | str = code or self.default_code
        self.hint = printable(hint)
        self.fields = dict(fields or {})

    def __str__(self) -> str:
        return self.reason

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions are rebuilt from `args` alone, which would lose what was given by keyword.
        state = dict(self.__dict__)
        if isinstance(self, OSError):  # which keeps these outside of __dict__
            state |= {"errno": self.errno, "filename": self.filename}
        return _rebuilt, (type(self), self.args, state)

    @property
    def message(self) -> str:
        """The reason with the hint behind it, if there is one."""
        return f"{self.reason}. {self.hint}" if self.hint else self.reason

    def answer(self) -> dict[str, object]:
        """The answer of the service: section 3 of the protocol, and the code."""
        return {
            "status": "ERROR",
            "reason": self.message,
            "code": str(self.code),
            **self.fields,
        }


def _rebuilt(
    kind: type[GobblerError], args: tuple[object, ...], state: dict[str, object]
) -> GobblerError:
    error = kind.__new__(kind, *args)
    error.args = args
    for name, value in state.items():
        setattr(error, name, value)
    return error


class Refused(GobblerError):
    """The request itself is wrong (HTTP 400)."""

    status = 400
    exit_code = 3
    default_code = Code.INVALID_REQUEST


class Forbidden(GobblerError):
    """The user is not allowed to do that (HTTP 403)."""

    status = 403
    exit_code = 4
    default_code = Code.NOT_ALLOWED


class Missing(GobblerError):
    """A project, asset, version or file is not there (HTTP 404)."""

    status = 404
    exit_code = 5
    default_code = Code.NOT_FOUND


class Fault(GobblerError):
    """The service, its filesystem or a file of the registry is broken (HTTP 500)."""


class Busy(Fault):
    """Other requests have all the places, for now (HTTP 503)."""

    status = 503
    default_code = Code.BUSY


class Misconfigured(Fault):
    """The service can't start with these settings or directories."""

    default_code = Code.MISCONFIGURED


class Unreachable(GobblerError):
    """No service answered at the address."""

    exit_code = 6
    default_code = Code.NO_ANSWER


class Cancelled(GobblerError):
    """The work was stopped on request and everything was put back."""

    exit_code = 130
    default_code = Code.CANCELLED


class CancelledByOwner(Cancelled):
    """Who asked for the work, or an administrator, cancelled it (HTTP 409): nothing has failed."""

    status = 409


_BY_ERRNO = {
    errno.ENOSPC: Code.DISK_FULL,
    errno.EDQUOT: Code.DISK_FULL,
    errno.EROFS: Code.READ_ONLY,
}


def os_error_code(error: OSError) -> Code:
    """The code for a call to the filesystem that failed."""
    return _BY_ERRNO.get(error.errno or 0, Code.IO_ERROR)


MAX_QUOTED = 200
"""Largest number of characters of a name in a reason or a log line."""

_END = 50
"""Characters at the end of a longer name that are shown."""


def quoted(name: str | bytes) -> str:
    """``name`` in quotes and safe to print; a long one is shortened.

    Control characters, lone surrogates (bytes that are not UTF-8) and characters that
    reorder text on a terminal are escaped, so that a file's name can't forge a log line.
    """
    if isinstance(name, bytes):
        name = _ends(name).decode("utf-8", "surrogateescape")
    text = shortened(name)
    if text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return '"' + "".join(_fitting([_safe(char) for char in text])) + '"'


def shortened(text: str) -> str:
    """``text`` as it is shown: of a long one only its beginning and its end."""
    return text if len(text) <= MAX_QUOTED else "".join(_fitting(text))


def _fitting(characters: Sequence[str]) -> Sequence[str]:
    """``characters`` if together they are short enough to be shown; else those at both ends."""
    if sum(map(len, characters[: MAX_QUOTED + 1])) <= MAX_QUOTED:
        return characters
    start = _whole_characters(characters, MAX_QUOTED - _END - 1)
    end = _whole_characters(characters[: -_END - 1 : -1], _END)
    return [*start, "…", *reversed(end)]


def _whole_characters(characters: Sequence[str], limit: int) -> list[str]:
    found = []
    for character in characters:
        limit -= len(character)
        if limit < 0:
            break
        found.append(character)
    return found


def _ends(name: bytes) -> bytes:
    longest = 4 * MAX_QUOTED  # bytes of a character
    return name if len(name) <= 2 * longest else name[:longest] + name[-longest:]


def printable(text: str) -> str:
    """``text`` with everything but line breaks and tabs escaped that a terminal could obey.

    Like :func:`quoted`, but for a text, such as a message. Printable text stays as it is.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else _escaped(c) for c in text)


def json_printable(text: str, *, ascii_only: bool = False) -> str:
    """``text``, which is JSON, with everything escaped that a terminal could obey.

    JSON itself escapes only some control characters. Line breaks are escaped too, so give it one
    line at a time. With ``ascii_only``, escapes all that is not ASCII.
    """
    if "\x7f" not in text and (text.isascii() if ascii_only else text.isprintable()):
        return text
    kept = str.isascii if ascii_only else str.isprintable
    return "".join(char if kept(char) and char != "\x7f" else _json_escape(char) for char in text)


def _json_escape(char: str) -> str:
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))


def _safe(char: str) -> str:
    if char in '"\\':
        return "\\" + char
    return char if char.isprintable() else _escaped(char)


def _escaped(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return f"\\u{code:04x}" if code > 0xFF else f"\\x{code:02x}"
