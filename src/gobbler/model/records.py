"""The files of a registry as typed values, and their JSON.

Writing is strict: only valid records are written. Reading accepts what other services write:
unknown fields are ignored, absent optional fields get their defaults, and ``null`` stands for an
empty array.

JSON is written as UTF-8, indented by four spaces, with the keys of maps in order.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from gobbler.errors import Code, Fault, Refused, quoted, shortened
from gobbler.model.json_structure import MAX_DEPTH, depth_exceeds
from gobbler.model.names import VersionKey

T = TypeVar("T")

TOO_DEEP = "it is nested too deeply"

Size = Annotated[int, Meta(ge=0)]
"""A number of bytes."""

Checksum = Annotated[str, Meta(pattern=r"^([0-9a-f]{32})?\Z")]
"""An MD5 as 32 hexadecimal digits, or nothing (for an empty directory)."""

_CHECKSUM_LENGTHS = {0, 32}
_CHECKSUM_DIGITS = b"0123456789abcdef"


class Link(Struct, frozen=True, omit_defaults=True, gc=False):
    """A file that stands for another: ``parent`` is the file that the uploader linked to.

    If the parent is itself a link, ``ancestor`` is the real file at the end of the chain; an
    ancestor never has an ancestor.
    """

    project: str
    asset: str
    version: str
    path: str
    ancestor: Link | None = None

    @property
    def key(self) -> VersionKey:
        """The version that holds the parent."""
        return VersionKey(self.project, self.asset, self.version)

    @property
    def end(self) -> Link:
        """The real file: the ancestor if there is one, else the parent."""
        return self.ancestor or self

    @classmethod
    def to(cls, key: VersionKey, path: str, ancestor: Link | None = None) -> Link:
        """A link to ``path`` in version ``key``."""
        return cls(key.project, key.asset, key.version, path, ancestor)


class Entry(Struct, frozen=True, omit_defaults=True, gc=False):
    """One file of a version: its size in bytes, its MD5, and its link, if it has one.

    An empty directory is an entry of size 0 without a checksum. Decoding an entry does not check
    that ``md5sum`` is a :data:`Checksum`; decoding a manifest does.
    """

    size: Size
    md5sum: str
    link: Link | None = None

    @property
    def is_directory(self) -> bool:
        """Whether this stands for an empty directory."""
        return self.md5sum == ""


Manifest = dict[str, Entry]
"""``..manifest``: the entries of a version by path."""

_MANIFESTS = msgspec.json.Decoder(Manifest)


class _CheckedEntry(Struct):
    size: Size
    md5sum: Checksum
    link: Link | None = None


_CheckedManifest = dict[str, _CheckedEntry]

Links = dict[str, Link]
"""``..links``: the links of one directory by file name."""

EMPTY_DIRECTORY = Entry(0, "")


class Summary(Struct, frozen=True, omit_defaults=True):
    """``..summary``: who published a version and when (RFC 3339 with offset)."""

    upload_user_id: str
    upload_start: str
    upload_finish: str
    on_probation: bool = False


class Latest(Struct, frozen=True):
    """``..latest``: the name of an asset's latest version."""

    version: str


class Usage(Struct, frozen=True):
    """``..usage``: bytes that a project's unlinked files take."""

    total: Size


class Quota(Struct, frozen=True):
    """``..quota``: bytes that a project may use; ``growth_rate`` is bytes a year."""

    baseline: int
    growth_rate: int
    year: int


class Uploader(Struct, frozen=True):
    """One entry of the uploaders: who may upload what, until when, and how trusted."""

    id: str
    asset: str | UnsetType = UNSET
    version: str | UnsetType = UNSET
    until: str | UnsetType = UNSET
    trusted: bool | UnsetType = UNSET


class Permissions(Struct, frozen=True):
    """``..permissions`` of a project, or of an asset (which has no ``global_write``)."""

    owners: tuple[str, ...] = ()
    uploaders: tuple[Uploader, ...] = ()
    global_write: bool | UnsetType = UNSET


class LogEntry(Struct, frozen=True, kw_only=True):
    """``..logs/{time}_{six digits}``: one change that downstream indexers should follow."""

    asset: str | UnsetType = UNSET
    latest: bool | UnsetType = UNSET
    project: str
    type: Literal[
        "add-version", "delete-version", "reindex-version", "delete-asset", "delete-project"
    ]
    version: str | UnsetType = UNSET


# Other writers may have left null instead of an array or an absent field.


class LooseUploader(Struct, frozen=True, gc=False):
    """An uploader as it may be stored or requested: ``null`` means absent."""

    id: str
    asset: str | None = None
    version: str | None = None
    until: str | None = None
    trusted: bool | None = None

    def strict(self) -> Uploader:
        """The same without the nulls."""
        return Uploader(
            self.id,
            _set(self.asset),
            _set(self.version),
            _set(self.until),
            _set(self.trusted),
        )


class LoosePermissions(Struct, frozen=True):
    """Permissions as they may be stored or requested: ``None`` means not given."""

    owners: tuple[str, ...] | None = None
    uploaders: tuple[LooseUploader, ...] | None = None
    global_write: bool | None = None

    def strict(self) -> Permissions:
        """The same, with empty arrays for absent ones."""
        return Permissions(
            self.owners or (),
            tuple(uploader.strict() for uploader in self.uploaders or ()),
            _set(self.global_write),
        )


class _LooseSummary(Struct, frozen=True):
    upload_user_id: str
    upload_start: str
    upload_finish: str
    on_probation: bool | None = None


def _set(value: T | None) -> T | UnsetType:
    return UNSET if value is None else value


def encode(record: Struct | Manifest | Links) -> bytes:
    """``record`` as JSON, as it is stored in the registry."""
    return msgspec.json.format(msgspec.json.encode(record, order="deterministic"), indent=4)


ENCODED_ENTRIES = 10_000
"""Entries of a map that are encoded at a time."""


def encode_parts(record: Manifest | Links) -> Iterator[bytes]:
    """What :func:`encode` returns, in parts: all of it may take more memory than the record."""
    keys = sorted(record)
    if len(keys) <= ENCODED_ENTRIES:
        yield encode(record)
        return
    for start in range(0, len(keys), ENCODED_ENTRIES):
        part: dict[str, Any] = {key: record[key] for key in keys[start : start + ENCODED_ENTRIES]}
        # Without its first and last line, which are the braces.
        yield (b",\n" if start else b"{\n") + encode(part)[2:-2]
    yield b"\n}"


def decode(data: bytes, kind: type[T], where: str) -> T:
    """Read ``data``, the content of the registry's file ``where``, as a ``kind``.

    Raises :class:`~gobbler.errors.Fault` that names the file and the place in it.
    """
    # A manifest may be large, and the interpreter has a limit as well.
    if kind not in (Manifest, Links) and depth_exceeds(data, MAX_DEPTH):
        raise Fault(f"{where} is damaged: {TOO_DEEP}", code=Code.DAMAGED_RECORD)
    try:
        record: T = _tolerant(data, kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        problem = describe(error, data, kind)
        raise Fault(f"{where} is damaged: {problem}", code=Code.DAMAGED_RECORD) from None
    return record


def _tolerant(data: bytes, kind: type[T]) -> Any:  # noqa: ANN401 - narrowed by decode()
    if kind is Permissions:
        return msgspec.json.decode(data, type=LoosePermissions).strict()
    if kind == Manifest:
        return _manifest(data)
    if kind is Summary:
        loose = msgspec.json.decode(data, type=_LooseSummary)
        return Summary(
            loose.upload_user_id,
            loose.upload_start,
            loose.upload_finish,
            bool(loose.on_probation),
        )
    return msgspec.json.decode(data, type=kind)


DECODED_BYTES = 4 * 1024 * 1024
"""Bytes of a manifest that are decoded at a time."""

_END_OF_ENTRY = b"\n    },"
"""Ends an entry of a manifest, as services write it; inside of an entry, there are more spaces."""


def decode_manifest(data: bytes, where: str) -> Manifest:
    """Read a manifest. Raises :class:`~gobbler.errors.Fault` like :func:`decode`."""
    if len(data) > DECODED_BYTES:
        try:
            return _decode_parts(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass  # written in another way, or damaged: find out what, and where
    return decode(data, Manifest, where)


def _manifest(data: bytes) -> Manifest:
    manifest = _MANIFESTS.decode(data)
    # To match a pattern for each entry takes twice as long as to decode all of them.
    sums = [entry.md5sum for entry in manifest.values()]
    is_valid = _CHECKSUM_LENGTHS.issuperset(map(len, sums))
    if not is_valid or "".join(sums).encode().translate(None, _CHECKSUM_DIGITS):
        msgspec.json.decode(data, type=_CheckedManifest)  # raises the error, with the place
    return manifest


def _decode_parts(data: bytes) -> Manifest:
    """Read a large manifest part by part; what its links have in common is there once.

    Raises an error unless each part is a whole number of entries.
    """
    manifest: Manifest = {}
    names: dict[str, str] = {}
    view = memoryview(data)
    begin = 0
    while begin < len(data):
        cut = data.find(_END_OF_ENTRY, begin + DECODED_BYTES)
        end = len(data) if cut < 0 else cut + len(_END_OF_ENTRY) - 1
        part = b"".join((b"{" if begin else b"", view[begin:end], b"" if cut < 0 else b"}"))
        entries = _manifest(part)
        if not entries:
            raise msgspec.DecodeError("a comma without an entry after it")
        for path, entry in entries.items():
            link = entry.link
            manifest[path] = (
                entry
                if link is None
                else Entry(entry.size, entry.md5sum, _sharing(path, link, names))
            )
        begin = end + 1  # after the comma
    return manifest


def _sharing(path: str, link: Link, names: dict[str, str]) -> Link:
    """The same ``link`` of the file ``path``, with strings that are in memory already."""
    one = names.setdefault
    return Link(
        one(link.project, link.project),
        one(link.asset, link.asset),
        one(link.version, link.version),
        path if link.path == path else link.path,
        None if link.ancestor is None else _sharing(path, link.ancestor, names),
    )


def describe(error: Exception, data: bytes, kind: object) -> str:
    """The problem with ``data``, and its place in the JSON.

    msgspec writes ``$[...]`` for any key of a map; if ``kind`` is a map, this finds the key and
    names it.
    """
    if isinstance(error, RecursionError):
        return TOO_DEEP
    text = shortened(str(error))
    arguments = getattr(_CheckedManifest if kind == Manifest else kind, "__args__", None)
    if "$[...]" not in text or not arguments:
        return text
    try:
        entries = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return text  # what follows is damaged, too
    bad = next((key for key, raw in entries.items() if not _decodes(raw, arguments[1])), "...")
    return text.replace("$[...]", f"$[{quoted(bad)}]", 1)


def _decodes(raw: msgspec.Raw, kind: object) -> bool:
    try:
        msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def parse_time(text: str) -> dt.datetime | None:
    """The instant in ``text``, or ``None`` if it is not RFC 3339 with an offset."""
    if text[10:11] not in ("T", "t") or not (text[-1:] in ("Z", "z") or text[-3:-2] == ":"):
        return None
    try:
        moment: dt.datetime = msgspec.convert(text, Annotated[dt.datetime, Meta(tz=True)])
    except msgspec.ValidationError:
        return None
    return moment


def format_time(moment: dt.datetime) -> str:
    """``moment`` as RFC 3339 with offset, in whole seconds, e.g. ``2026-11-20T09:15:02+01:00``."""
    return moment.isoformat(timespec="seconds")


TIME_HINT = "Write it as RFC 3339 with offset, e.g. 2026-11-20T09:15:02+01:00."


def check_uploaders(uploaders: Sequence[LooseUploader], place: str) -> None:
    """Refuse uploaders that can never match: no ``id``, or an ``until`` that is no time.

    Raises :class:`~gobbler.errors.Refused` with the place, e.g. ``$.permissions.uploaders[1]``.
    """
    for i, uploader in enumerate(uploaders):
        if uploader.id == "":
            raise Refused(f"an uploader needs a user: it is empty at `{place}[{i}].id`")
        if uploader.until is not None and parse_time(uploader.until) is None:
            raise Refused(
                f"`until` is not a time: {quoted(uploader.until)} at `{place}[{i}].until`",
                hint=TIME_HINT,
            )


def plain(record: Struct | Manifest) -> dict[str, Any]:
    """``record`` as dicts, lists, text and numbers: for ``pygobbler`` and ``--json``."""
    if isinstance(record, dict):  # quicker; but it would leave the tuples of other records
        manifest: dict[str, Any] = msgspec.to_builtins(record)
        return manifest
    return msgspec.json.decode(msgspec.json.encode(record), type=dict[str, Any])
