"""Which errors show that an entry of a registry is not the service's own."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from gobbler.registry.foreign import is_foreign


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM])
def test_a_refusal_that_the_mode_does_not_explain_may_hide_versions(
    tmp_path: Path, number: int
) -> None:
    error = OSError(number, os.strerror(number))
    assert not is_foreign(str(tmp_path), error)
    tmp_path.chmod(0)
    assert is_foreign(str(tmp_path), error)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_another_account_is_foreign(tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, -1)
    assert is_foreign(str(tmp_path), OSError(errno.EACCES, "denied"))


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EMFILE])
def test_a_failing_disk_is_no_foreign_entry(tmp_path: Path, number: int) -> None:
    assert not is_foreign(str(tmp_path), OSError(number, os.strerror(number)))
