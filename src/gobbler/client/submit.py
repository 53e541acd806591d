"""Submit a request: write a request file into staging, and notify the service.

The client notifies the service over HTTP, or moves the file into the spool.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Iterator, Mapping

import msgspec

from gobbler.client.errors import NotThere, error_from_answer
from gobbler.client.http import Http
from gobbler.client.retry import send_until_begun
from gobbler.client.staging_directory import StagingDirectory
from gobbler.errors import Code, GobblerError, Refused
from gobbler.fs.open import closing
from gobbler.model.jobs import NEW, SPOOL, TMP
from gobbler.model.requests import REQUEST_PREFIX

SPOOL_SECONDS = 3.0
SPOOL_PAUSE = 0.1
"""Seconds to wait for a spool that was removed, and between two attempts."""


def submit(
    http: Http,
    staging: StagingDirectory,
    action: str,
    fields: Mapping[str, object],
    *,
    wait: bool = True,
) -> dict[str, object]:
    """Submit ``action`` over HTTP and return the service's answer.

    A request that the service did not begin is sent again, in a new file: if the service takes the
    new file for an expired one, because it has just lost its list of requests; and, for a while, if
    it is busy or stops.

    Leaves out ``fields`` that are ``None``. The requester is the owner of the request file: the
    current user. Always removes the file. Returns when the change is complete, which may take hours
    for an upload.

    Without ``wait`` a service that has jobs answers at once, with the name of the job as
    ``job``. A service without jobs carries out the request before it answers.

    Raises :class:`~gobbler.client.errors.RequestFailed` if the service refuses the request, and
    :class:`~gobbler.errors.Refused` with the code ``wrong-staging`` if it does not see the file.
    """
    data = _encode(fields)

    def send() -> dict[str, object]:
        return _submit(http, staging, new_request_name(action), data, wait=wait)

    def send_anew() -> dict[str, object]:
        try:
            return send()
        except GobblerError as error:
            if error.code != Code.EXPIRED_REQUEST:
                raise
            return send()

    return send_until_begun(send_anew)


def _submit(
    http: Http, staging: StagingDirectory, name: str, data: bytes, *, wait: bool
) -> dict[str, object]:
    path = os.path.join(staging.path, name)
    try:
        with staging.entered() as directory:
            staging.write(directory, name, data)
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


def submit_to_spool(staging: StagingDirectory, name: str, fields: Mapping[str, object]) -> None:
    """Submit the request ``name`` through the spool of ``staging``.

    If something has removed the spool, it waits a few seconds for the service to make it anew.
    Whoever is interrupted here has submitted nothing, unless a worker was faster.
    """
    data = _encode(fields)
    try:
        _submit_to_spool(staging, name, data)
    except BaseException as error:
        if not isinstance(error, Exception):
            withdraw(staging, name)
        raise


def _submit_to_spool(staging: StagingDirectory, name: str, data: bytes) -> None:
    deadline = time.monotonic() + SPOOL_SECONDS
    while True:
        try:
            _put_into_spool(staging, name, data)
            return
        except FileNotFoundError as error:  # it is missing, or was removed at this moment
            if isinstance(error, NotThere) and not os.path.isdir(staging.path):
                raise
            if time.monotonic() > deadline:
                raise _no_spool(staging) from None
        time.sleep(SPOOL_PAUSE)


def withdraw(staging: StagingDirectory, name: str) -> bool:
    """Remove the request ``name`` of this user from the inbox; whether it still waited there."""
    with (
        contextlib.suppress(OSError, GobblerError),
        staging.entered() as directory,
        _opened(staging, directory, SPOOL) as spool,
        _opened(staging, spool, NEW) as new,
    ):
        if os.stat(name, dir_fd=new, follow_symlinks=False).st_uid == os.geteuid():
            os.unlink(name, dir_fd=new)
            return True
    return False


def _put_into_spool(staging: StagingDirectory, name: str, data: bytes) -> None:
    with (
        staging.entered() as directory,
        _opened(staging, directory, SPOOL) as spool,
        _opened(staging, spool, TMP) as tmp,
        _opened(staging, spool, NEW) as new,
    ):
        staging.write(tmp, name, data)
        try:
            os.rename(name, name, src_dir_fd=tmp, dst_dir_fd=new)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=tmp)
            raise


@contextlib.contextmanager
def _opened(staging: StagingDirectory, parent: int, name: str) -> Iterator[int]:
    """A descriptor of a directory of the spool, which another user may have put there."""
    try:
        descriptor = os.open(
            name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent
        )
    except (FileNotFoundError, NotADirectoryError):
        raise _no_spool(staging) from None
    with closing(descriptor):
        staging.check(descriptor, f"{staging}/.../{name}" if name != SPOOL else f"{staging}/{name}")
        yield descriptor


def _no_spool(staging: StagingDirectory) -> NotThere:
    return NotThere(
        f"the staging directory {staging} has no spool",
        staging.path,
        hint="The service makes it, also when something has removed it: is it running? A service "
        "without a spool needs --url.",
    )


def new_request_name(action: str) -> str:
    """A name for a request file that nobody guesses."""
    return f"{REQUEST_PREFIX}{action}-{secrets.token_hex(10)}"


def _encode(fields: Mapping[str, object]) -> bytes:
    given = {key: value for key, value in fields.items() if value is not None}
    try:
        return msgspec.json.encode(given)
    except (TypeError, UnicodeError) as error:
        raise Refused(f"the fields of the request can't be written as JSON: {error}") from error


def _another_staging(staging: StagingDirectory, http: Http) -> Refused:
    return Refused(
        f"{staging} is not the staging directory of {http.shown}: it does not see files there",
        code=Code.WRONG_STAGING,
        hint="Give the directory of the service as --staging (`staging` in Python, or "
        "GOBBLER_STAGING), by its path on this machine. See it with: gobbler info",
    )
