"""Which names a filesystem takes, and whether it gives them back as they were."""

from __future__ import annotations

import errno
import os
import unicodedata

from gobbler.doctor.findings import Finding, Topic
from gobbler.errors import quoted
from gobbler.model.names import MAX_NAME_BYTES

MEND = "Use a filesystem such as ext4, XFS or NFS, or take away mount options that change names."

_OTHER_TROUBLE = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS}

COMPOSED = unicodedata.normalize("NFC", "Zürich")
DECOMPOSED = unicodedata.normalize("NFD", "Zürich")
ODD = 'a:b*c?"<>|\\ .'


def long_names(topic: Topic, directory: str) -> Finding:
    """Whether names may have 255 bytes, of whichever letters."""
    for name in ("x" * MAX_NAME_BYTES, "é" * (MAX_NAME_BYTES // 2) + "x"):
        try:
            taken = _takes(directory, name)
        except OSError as error:
            if error.errno in _OTHER_TROUBLE:
                raise
            return topic.warning(
                f"names of {MAX_NAME_BYTES} bytes are not possible: {error.strerror}",
                "Files with long names can't be published. " + MEND,
            )
        if not taken:
            return topic.warning("long names come back changed", MEND)
    return topic.ok(f"names may have {MAX_NAME_BYTES} bytes")


def kept_names(topic: Topic, directory: str) -> Finding:
    """Whether names come back byte for byte, and names that differ are different files."""
    for name in (COMPOSED, DECOMPOSED, "日本語", ODD):
        try:
            taken = _takes(directory, name)
        except OSError as error:
            if error.errno in _OTHER_TROUBLE:
                raise
            return topic.warning(
                f"the name {quoted(name)} is not possible: {error.strerror}",
                "Files with such names can't be published. " + MEND,
            )
        if not taken:
            return topic.fault(f"the name {quoted(name)} comes back changed", MEND)
    if _same(directory, COMPOSED, DECOMPOSED):
        return topic.fault("names that only look the same are taken for one", MEND)
    return topic.ok("names are kept byte for byte")


def letter_case(topic: Topic, directory: str) -> Finding:
    """Whether ``a`` and ``A`` are two names."""
    if _same(directory, "letter-case", "Letter-Case"):
        return topic.fault(
            "capital and small letters are taken for the same: files whose names differ in that "
            "only get in each other's way",
            MEND,
        )
    return topic.ok("capital and small letters differ")


def _takes(directory: str, name: str) -> bool:
    # In a directory of its own: only this name can be listed then.
    place = f"{directory}/names"
    os.mkdir(place)
    path = os.path.join(os.fsencode(place), name.encode())
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        kept = os.listdir(os.fsencode(place)) == [name.encode()]
        os.unlink(path)
        return kept
    finally:
        os.rmdir(place)


def _same(directory: str, name: str, other: str) -> bool:
    path = os.path.join(os.fsencode(directory), name.encode())
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    try:
        return os.path.lexists(os.path.join(os.fsencode(directory), other.encode()))
    finally:
        os.unlink(path)
