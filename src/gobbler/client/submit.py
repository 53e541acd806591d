"""Asking for a change: a request file in staging, and word of it to the service."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Mapping

import msgspec

from gobbler.client.errors import NotThere, RequestFailed
from gobbler.client.http import Http
from gobbler.errors import Forbidden, Refused
from gobbler.requests import PREFIX


def submit(
    http: Http, staging: str, action: str, fields: Mapping[str, object]
) -> dict[str, object]:
    """Carry out ``action`` and answer what the service answers.

    Fields that are ``None`` are left out. The owner of the request file, so the one who
    asks, is the present user; the file is removed in any case. Returns once the change is
    complete, which may take hours for an upload.
    """
    name = f"{PREFIX}{action}-{secrets.token_hex(10)}"
    path = os.path.join(staging, name)
    _write(path, _encode(fields), staging)
    try:
        answer = http.post(f"/new/{name}")
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
    if answer.get("status") != "SUCCESS":
        raise RequestFailed(str(answer.get("reason") or f"the service answered {answer!r}"))
    return answer


def _encode(fields: Mapping[str, object]) -> bytes:
    given = {key: value for key, value in fields.items() if value is not None}
    try:
        return msgspec.json.encode(given)
    except (TypeError, UnicodeError) as error:
        raise Refused(f"the request can't be written as JSON: {error}") from error


def _write(path: str, data: bytes, staging: str) -> None:
    # The mode is the umask's and the directory's default ACL's business: the service must
    # be able to read the file, and a later chmod would cut the ACL down.
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except (FileNotFoundError, NotADirectoryError):
        raise staging_missing(staging) from None
    except PermissionError:
        raise staging_closed(staging) from None
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
    except BaseException:
        os.unlink(path)
        raise


def staging_missing(staging: str) -> NotThere:
    """The error for a staging directory that is not on this machine."""
    return NotThere(
        f"the staging directory {staging} is not on this machine",
        staging,
        hint="Changes need the filesystem of the service; run this where it is mounted.",
    )


def staging_closed(staging: str) -> Forbidden:
    """The error for a staging directory in which the user can't write."""
    return Forbidden(
        f"you can't write in the staging directory {staging}",
        hint="It should have the mode 1777; ask who runs the service.",
    )
