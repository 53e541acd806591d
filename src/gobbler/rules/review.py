"""The digest of a review: it binds an approval to the state of the version that was reviewed.

Without it, an uploader could reject a version after its review, upload other content under the
same name, and have that approved.
"""

from __future__ import annotations

import hashlib
import re

from gobbler.errors import Refused, quoted

_DIGEST = re.compile(r"[0-9a-f]{64}")


def review_digest(summary: bytes, manifest: bytes) -> str:
    """The digest of a version: the SHA-256 of its ``..summary`` followed by its ``..manifest``.

    The summary is part of it because a manifest knows files by their MD5 only: another upload
    with crafted files can have the same manifest, but not the same times.
    """
    digest = hashlib.sha256(summary)
    digest.update(manifest)
    return digest.hexdigest()


def checked_digest(text: str, where: str) -> str:
    """``text`` if it is a digest, in lower case.

    Raises :class:`~gobbler.errors.Refused` that names ``where`` it was given.
    """
    digest = text.strip().lower()
    if not _DIGEST.fullmatch(digest):
        raise Refused(
            f"{where} is not a digest: {quoted(text[:80])}",
            hint="A digest has 64 hexadecimal digits; see: gobbler probation list",
        )
    return digest
