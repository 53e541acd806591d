"""A process that holds a lease on a file could delay whoever opens it."""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from gobbler.errors import Code, GobblerError


@pytest.fixture(autouse=True)
def _no_signal() -> Iterator[None]:
    """The kernel tells the holder of a lease that somebody opens the file."""
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGIO, before)


def test_a_file_in_use_is_refused_by_name(client, project):
    source = Path(client.allocate_upload_directory())
    (source / "sub").mkdir()
    (source / "sub/mine").write_text("mine")
    held = os.open(source / "sub/mine", os.O_RDWR)
    try:
        try:
            fcntl.fcntl(held, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        except OSError:
            pytest.skip("the filesystem of the tests has no leases")
        with pytest.raises(GobblerError) as caught:
            client.upload(f"{project}/a/1", source)
    finally:
        os.close(held)
    assert caught.value.code is Code.FILE_IN_USE
    assert '"sub/mine"' in caught.value.reason
    client.upload(f"{project}/a/1", source)
