"""What the files of a version should be, as its manifest tells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from gobbler.errors import Fault, Missing
from gobbler.model.names import has_internal, split_path
from gobbler.model.records import Entry, Manifest, decode_manifest


@dataclass(frozen=True)
class Expected:
    """The manifest of the version at the path ``version``, and its ``content`` as it came.

    Nothing is expected where there is no manifest: outside of versions, and in directories
    that were put into a registry by hand.
    """

    version: str = ""
    content: bytes = b""
    manifest: Manifest = field(default_factory=dict)

    def entry(self, path: str) -> Entry | None:
        """What the registry's file ``path`` should be, if that is known."""
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


def expected(path: str, read: Callable[[str], bytes]) -> Expected:
    """What is expected of the registry's file or directory ``path``.

    ``read`` answers the content of a file of the registry. Raises
    :class:`~gobbler.errors.Fault` for a manifest that is none.
    """
    found = split_path(path)
    if found is None:
        return NOTHING
    key, inner = found
    if has_internal(inner):
        return NOTHING
    try:
        content = read(key.manifest)
    except Missing:
        return NOTHING
    try:
        return Expected(key.path, content, decode_manifest(content, key.manifest))
    except Fault as error:
        hint = "Tell who runs the service: gobbler reindex makes it anew."
        if content.lstrip().startswith(b"<"):
            hint = "It is a web page: is this the service, or a proxy before it?"
        raise Fault(error.reason, hint=hint) from None
