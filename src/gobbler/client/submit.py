"""Submit a request: write a request file into staging, and notify the service.

The client notifies the service over HTTP, or moves the file into the spool.
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
from gobbler.model.requests import REQUEST_PREFIX


def submit(
    http: Http, staging: str, action: str, fields: Mapping[str, object], *, wait: bool = True
) -> dict[str, object]:
    """Submit ``action`` over HTTP and return the service's answer.

    Leaves out ``fields`` that are ``None``. The requester is the owner of the request file: the
    current user. Always removes the file. Returns when the change is complete, which may take hours
    for an upload.

    Without ``wait`` a service that has jobs answers at once, with the name of the job as
    ``job``. A service without jobs carries out the request before it answers.

    Raises :class:`~gobbler.client.errors.RequestFailed` if the service refuses the request, and
    :class:`~gobbler.errors.Refused` with the code ``wrong-staging`` if it does not see the file.
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
        with contextlib.suppress(OSError):  # the answer counts; cleanup removes the file
            os.unlink(path)
    if answer.get("status") not in ("SUCCESS", "ACCEPTED"):
        raise error_from_answer(500, answer, default_reason=f"the service answered {answer!r}")
    return answer


def submit_to_spool(staging: str, action: str, fields: Mapping[str, object]) -> str:
    """Submit ``action`` through the spool of ``staging``; return the name of its job."""
    name = _new_name(action)
    written, waiting = f"{staging}/{SPOOL}/{TMP}/{name}", f"{staging}/{SPOOL}/{NEW}/{name}"
    if not os.path.isdir(f"{staging}/{SPOOL}"):
        if not os.path.isdir(staging):
            raise staging_missing(staging)
        raise NotThere(
            f"the staging directory {staging} has no spool",
            staging,
            hint="The service creates it when it starts. A service without a spool needs --url.",
        )
    _write(written, _encode(fields), staging)
    try:
        os.rename(written, waiting)
    except BaseException:
        os.unlink(written)
        raise
    return job_name(os.geteuid(), name)


def _new_name(action: str) -> str:
    return f"{REQUEST_PREFIX}{action}-{secrets.token_hex(10)}"


def _encode(fields: Mapping[str, object]) -> bytes:
    given = {key: value for key, value in fields.items() if value is not None}
    try:
        return msgspec.json.encode(given)
    except (TypeError, UnicodeError) as error:
        raise Refused(f"the fields of the request can't be written as JSON: {error}") from error


def _write(path: str, data: bytes, staging: str) -> None:
    # The umask or a default ACL of the directory decide the mode: the service must be able to
    # read the file, and a later chmod would cut the ACL down.
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
        f"{staging} is not the staging directory of {http.shown}: it does not see files there",
        code=Code.WRONG_STAGING,
        hint="Give the directory of the service as --staging (`staging` in Python, or "
        "GOBBLER_STAGING), by its path on this machine. See it with: gobbler info",
    )


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
        hint="Its mode should be 1777. Ask the administrator of the service to correct it.",
    )
