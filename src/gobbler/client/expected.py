"""Compare copies of files with the manifest of their version."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from gobbler.client.errors import incomplete_version
from gobbler.client.parallel import Stop
from gobbler.errors import Code, Fault, quoted
from gobbler.fs.hash import hash_file, md5_of
from gobbler.model.names import MANIFEST, SUMMARY, VersionKey, has_internal, split_path
from gobbler.model.progress import CancelCheck
from gobbler.model.records import Entry, Manifest
from gobbler.rules.manifest import read_manifest


class ContentMismatch(Fault):
    """A file that was fetched is not what the manifest of its version lists."""

    default_code: ClassVar[Code] = Code.CONTENT_MISMATCH


@dataclass(frozen=True)
class Expected:
    """The manifest of the version at the path ``version``, and its ``content`` as received.

    There is no manifest, and so no expectation, outside of versions and in directories that an
    administrator put into the registry by hand.
    """

    version: str = ""
    content: bytes = b""
    manifest: Manifest = field(default_factory=dict)

    def entry(self, path: str) -> Entry | None:
        """The entry of the registry's file ``path``, if the manifest has one."""
        found = self.manifest.get(path[len(self.version) + 1 :])
        return None if found is None or found.is_directory else found

    def below(self, path: str) -> Manifest:
        """The entries in the registry's directory ``path``, by their paths in it."""
        if path == self.version or not self.version:
            return self.manifest
        start = path[len(self.version) + 1 :] + "/"
        return {
            name[len(start) :]: entry
            for name, entry in self.manifest.items()
            if name.startswith(start)
        }


NOTHING = Expected()


def check_complete(path: str, directory: str, *, is_local: bool) -> None:
    """Raise :class:`~gobbler.errors.Missing` if ``path`` is a version without its records.

    ``directory``: what was found of it; ``is_local``: in the registry itself.
    """
    found = split_path(path)
    if found is None or found[1]:
        return
    for record in (MANIFEST, SUMMARY):
        if not os.path.isfile(f"{directory}/{record}"):
            raise incomplete_version(found[0], directory if is_local else "")


def version_of(path: str) -> VersionKey | None:
    """The version that the registry's ``path`` is in or is; its manifest lists what is there.

    ``None`` for a path outside of versions, and for a file of the service.
    """
    found = split_path(path)
    if found is None or has_internal(found[1]):
        return None
    return found[0]


def decoded(key: VersionKey, content: bytes) -> Expected:
    """The entries in the manifest ``content`` of a version.

    Raises :class:`~gobbler.errors.Fault` for a damaged manifest.
    """
    try:
        return Expected(key.path, content, read_manifest(content, key.manifest))
    except Fault as error:
        hint = f"Ask an administrator of the service to run: gobbler reindex {key.path}"
        if content.lstrip().startswith(b"<"):
            hint = "It is a web page: is this the service, or a proxy in front of it?"
        raise Fault(error.reason, code=error.code, hint=hint) from None


def content_problem(data: bytes, entry: Entry) -> str | None:
    """The difference between ``data`` and ``entry``; ``None`` if there is none."""
    if len(data) != entry.size:
        return size_problem(len(data), entry)
    return md5_problem(md5_of(data), entry)


def file_problem(file: Path, entry: Entry, stop: Stop) -> str | None:
    """The difference between the content of ``file`` and ``entry``; ``None`` if there is none."""
    with file.open("rb", buffering=0) as handle:
        length = os.fstat(handle.fileno()).st_size
        if length != entry.size:
            return size_problem(length, entry)
        _, md5sum = hash_file(handle.fileno(), CancelCheck(stop), length)
    return md5_problem(md5sum, entry)


def md5_problem(md5sum: str, entry: Entry) -> str | None:
    """The difference between content with ``md5sum`` and ``entry``; ``None`` if there is none."""
    return None if md5sum == entry.md5sum else f"its MD5 is {md5sum} instead of {entry.md5sum}"


def size_problem(size: int, entry: Entry) -> str:
    """The problem with a file of ``size`` bytes that should be as large as ``entry`` says."""
    return f"it has {size} bytes instead of {entry.size}"


def mismatch(path: str, problem: str) -> ContentMismatch:
    """The error for the registry's file ``path``, which has this ``problem``."""
    return ContentMismatch(
        f"{quoted(path)} is not what the manifest of its version lists: {problem}",
        hint="Try again. If the error stays, ask an administrator of the service to run "
        "gobbler validate; a proxy may also have changed the file on its way.",
    )
