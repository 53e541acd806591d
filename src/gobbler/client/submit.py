"""Asking for a change: a request file in staging, and word of it to the service.

Word is given over HTTP, or by moving the file into the spool.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Mapping

import msgspec

from gobbler.client.errors import NotThere, error_from_answer
from gobbler.client.http import Http
from gobbler.errors import Code, Forbidden, Refused
from gobbler.model.jobs import NEW, SPOOL, TMP, job_name
from gobbler.model.requests import PREFIX


def submit(
    http: Http, staging: str, action: str, fields: Mapping[str, object], *, wait: bool = True
) -> dict[str, object]:
    """Carry out ``action`` and answer what the service answers.

    Fields that are ``None`` are left out. The owner of the request file, so the one who
    asks, is the present user; the file is removed in any case. Returns once the change is
    complete, which may take hours for an upload.

    Without ``wait`` a service that knows jobs answers at once, with the name of one as
    ``job``; another one carries the request out, as ever.
    """
    name = _new_name(action)
    path = os.path.join(staging, name)
    _write(path, _encode(fields), staging)
    try:
        answer = http.post(f"/new/{name}" if wait else f"/new/{name}?wait=false")
    except Refused as error:
        if error.code == Code.MISSING_REQUEST and os.path.exists(path):
            raise _another_staging(staging, http) from error
        raise
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
    if answer.get("status") not in ("SUCCESS", "ACCEPTED"):
        raise error_from_answer(500, answer, default_reason=f"the service answered {answer!r}")
    return answer


def submit_to_spool(staging: str, action: str, fields: Mapping[str, object]) -> str:
    """Put a request into the spool of ``staging``; the name of its job."""
    name = _new_name(action)
    written, waiting = f"{staging}/{SPOOL}/{TMP}/{name}", f"{staging}/{SPOOL}/{NEW}/{name}"
    if not os.path.isdir(f"{staging}/{SPOOL}"):
        if not os.path.isdir(staging):
            raise staging_missing(staging)
        raise NotThere(
            f"the staging directory {staging} has no spool",
            staging,
            hint="The service makes it when it starts; one that has none needs --url.",
        )
    _write(written, _encode(fields), staging)
    try:
        os.rename(written, waiting)
    except BaseException:
        os.unlink(written)
        raise
    return job_name(os.geteuid(), name)


def _new_name(action: str) -> str:
    return f"{PREFIX}{action}-{secrets.token_hex(10)}"


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


def _another_staging(staging: str, http: Http) -> Refused:
    return Refused(
        f"{staging} is not the staging directory of {http.url}: it does not see files there",
        code=Code.WRONG_STAGING,
        hint="Give the directory of the service as --staging (`staging` in Python, or "
        "GOBBLER_STAGING), by its path on this machine. See it with: gobbler info",
    )


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
