"""What an ``OSError`` becomes: a fault with a code, an operation and a path."""

from __future__ import annotations

import errno
import os

import pytest

from gobbler.errors import Code, Fault
from gobbler.fs.os_errors import fault_from, raising_fault, with_path


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOSPC, Code.DISK_FULL),
        (errno.EDQUOT, Code.DISK_FULL),
        (errno.EROFS, Code.READ_ONLY),
        (errno.EIO, Code.IO_ERROR),
        (errno.EMFILE, Code.IO_ERROR),
    ],
)
def test_a_fault_has_the_code_of_its_cause(number: int, code: Code) -> None:
    error = OSError(number, os.strerror(number), "/r/x")
    assert fault_from(error, "publish").code is code
    with (
        pytest.raises(Fault, match='could not publish "/r/x"') as caught,
        raising_fault("publish", "/r/x"),
    ):
        raise error
    assert caught.value.code is code


def test_an_error_without_a_path_has_a_code_as_well() -> None:
    fault = fault_from(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "publish")
    assert fault.code is Code.DISK_FULL
    assert fault.reason == "could not publish: No space left on device"


def test_of_two_paths_the_new_one_is_named() -> None:
    fault = fault_from(OSError(errno.EIO, "broken", "/old", None, "/new"), "rename")
    assert fault.reason == 'could not rename at "/new": broken'


def test_an_error_learns_its_path_once() -> None:
    error = OSError(errno.EIO, "broken")
    with pytest.raises(OSError, match="broken") as caught, with_path("/outer"), with_path("/inner"):
        raise error
    assert caught.value.filename == "/inner"
