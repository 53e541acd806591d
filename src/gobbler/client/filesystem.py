"""``gobbler://project/asset/version/path`` for pandas, polars, xarray, zarr and dask.

They find this filesystem through the entry point ``fsspec.specs``. Its names are addresses, see
:func:`~gobbler.client.address.parse`. ``@latest`` may stand for a version, and stays in the names
that are returned. The manifest lists what a version contains, so that only files are read.
"""

from __future__ import annotations

import datetime as dt
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, NoReturn

from fsspec.spec import AbstractBufferedFile

from gobbler.client.address import Address, not_there, parse
from gobbler.client.client import find_client, resolve_latest
from gobbler.client.errors import NotThere
from gobbler.client.filesystem_walk import WalkableFileSystem
from gobbler.client.ranges import FileChanged, Ranges
from gobbler.client.registry_reader import VersionRecords
from gobbler.client.source import names
from gobbler.client.version_path import VersionFile, open_here
from gobbler.errors import Code, Forbidden, Missing, Refused, quoted
from gobbler.model.names import VersionKey
from gobbler.model.records import Entry, parse_time


class GobblerFileSystem(WalkableFileSystem):
    """A read-only registry: read directly where it is mounted, else over HTTP.

    ``url`` is the address of the service, and ``registry`` its registry as it is mounted here. If
    they are not given, the service is found as :class:`~gobbler.client.client.Client` finds it.
    ``service`` is the name of a configured service, or an address: zarr and others have an ``url``
    of their own and can't pass one on. ``cache`` is the directory for fetched files. With
    ``force_remote`` the registry is read over HTTP even if it is mounted.

    Over HTTP, a file of up to 16 MiB is fetched whole when it is opened, verified, and kept in the
    cache; a final file is requested only once. Of larger files, and of those of a version on
    probation, only the parts that you read are fetched, unless the cache has the whole file
    (``gobbler fetch``).

    A missing path raises ``FileNotFoundError``; writing raises ``OSError`` with ``EROFS``; the
    other errors are those of :mod:`gobbler.client.errors`. The filesystem and its open files can be
    pickled and copied.
    """

    protocol = "gobbler"
    root_marker = ""

    def __init__(
        self,
        url: str | None = None,
        registry: str | None = None,
        cache: str | None = None,
        force_remote: bool = False,
        service: str | None = None,
        **options: Any,  # noqa: ANN401 - those of every filesystem
    ) -> None:
        super().__init__(**options)
        if service and "://" in service:
            url, service = url or service, None
        self.client = find_client(
            {"url": url, "registry": registry},
            service=service,
            cache=cache,
            force_remote=force_remote,
        )
        self._reader = self.client._reader
        if not self.client.connection.can_read:
            raise Refused(
                "gobbler:// needs the address of the service, or the registry",
                code=Code.MISCONFIGURED,
                hint='Set GOBBLER_URL, or pass storage_options={"service": "http://..."}.',
            )

    def __reduce__(self) -> tuple[Any, ...]:
        # Where this is unpickled, on a worker of dask for example, the environment may differ.
        located = self._reader.connection.resolved
        found = {"service": None, "url": located.get("url"), "registry": located.get("registry")}
        function, (kind, arguments, options) = super().__reduce__()
        return function, (kind, (), _named(arguments) | options | found)

    def __copy__(self) -> GobblerFileSystem:
        return self  # it never changes

    def __deepcopy__(self, memo: dict[int, object]) -> GobblerFileSystem:
        return self

    @classmethod
    def _strip_protocol(cls, path: str | list[str]) -> str | list[str]:
        stripped = super()._strip_protocol(path)
        if isinstance(stripped, list):
            return stripped
        return str(stripped).lstrip("/")

    def invalidate_cache(self, path: str | None = None) -> None:
        """Read records again: those of the version that ``path`` is in, or all."""
        super().invalidate_cache(path)
        address = Address() if path is None else parsed(self._strip(path))
        if address.version:
            self._reader.forget(key_of(address))
        else:
            self._reader.forget()

    def ls(self, path: str, detail: bool = True, **_: object) -> list[Info] | list[str]:
        """The content of a project, an asset, a version or a directory; ``""``: all projects."""
        path = self._strip(path)
        with translated(path):
            found = list(self._listed(path))
        return found if detail else [info["name"] for info in found]

    def _listed(self, path: str) -> Iterator[Info]:
        address = parsed(path)
        if address.depth < 3:
            for name in self._names(address):
                yield directory_info(f"{path}/{name}".lstrip("/"))
            return
        records, inner = self._records(address)
        if not records.is_directory(inner):
            yield file_info(path, records, records.entry(inner))
            return
        for name, entry in sorted((records.tree.children(inner) or {}).items()):
            full = f"{path}/{name}"
            yield directory_info(full) if entry is None else file_info(full, records, entry)

    def _names(self, address: Address) -> list[str]:
        return names(self._reader.connection.source, str(address) or ".")

    def info(self, path: str, **_: object) -> Info:
        """Name, size in bytes and type; of a file also MD5, link, and time of publication."""
        path = self._strip(path)
        with translated(path):
            address = parsed(path)
            if address.depth >= 3:
                records, inner = self._records(address)
                if not records.is_directory(inner):
                    return file_info(path, records, records.entry(inner))
            elif not self._is_there(address):
                raise not_there(address)
            return directory_info(path)

    def _is_there(self, address: Address) -> bool:
        """Whether the registry has this project or asset."""
        if address.depth == 0:
            return True
        *_, name = (address.project, address.asset)[: address.depth]
        above = Address(address.project) if address.depth == 2 else Address()
        return name in self._names(above)

    def exists(self, path: str, **_: object) -> bool:
        """Whether it exists; unlike in ``fsspec``, an error does not mean that it does not."""
        return self._type(path) is not None

    def isdir(self, path: str) -> bool:
        """Whether it is a project, an asset, a version, or a directory of a version."""
        return self._type(path) == "directory"

    def isfile(self, path: str) -> bool:
        """Whether it is a file."""
        return self._type(path) == "file"

    def _type(self, path: str) -> str | None:
        try:
            return str(self.info(path)["type"])
        except FileNotFoundError:
            return None

    def checksum(self, path: str) -> str:
        """The MD5 of a file in the manifest, 32 hexadecimal digits; the file is not read."""
        return str(self._file_info(path)["md5sum"])

    def ukey(self, path: str) -> str:
        """A key that changes with the content of the file: MD5 and size."""
        info = self._file_info(path)
        return f"{info['md5sum']}-{info['size']}"

    def created(self, path: str) -> dt.datetime:
        """The time when the version was published, with its time zone."""
        path = self._strip(path)
        with translated(path):
            address = parsed(path)
            if address.depth < 3:
                raise Refused(
                    f"{quoted(path)} has no time of publication: only versions have one",
                    code=Code.INVALID_ADDRESS,
                )
            records, inner = self._records(address)
            records.is_directory(inner)  # raises if it is not there
            moment = published(records)
        if moment is None:
            raise ValueError(f"the summary of {records.key} has no time of publication")
        return moment

    def modified(self, path: str) -> dt.datetime:
        """The same as :meth:`created`: versions never change."""
        return self.created(path)

    def _file_info(self, path: str) -> Info:
        info = self.info(path)
        if info["type"] != "file":
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), info["name"])
        return info

    def _open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | str | None = None,
        cache_options: dict[str, Any] | None = None,
        **options: Any,  # noqa: ANN401 - passed on
    ) -> BinaryIO | AbstractBufferedFile:
        if mode != "rb":
            read_only(path)
        with translated(path):
            records, inner = self._records(parsed(path))
            file = open_here(self._reader, records.key, inner)
            # Without a cache of its own: for `blockcache::`, which puts one into the file.
            if file is not None and options.get("cache_type") != "none":
                return file
            ranges = self._reader.ranges(records.key, inner) if file is None else LocalRanges(file)
        for unused in ("autocommit", "size"):
            options.pop(unused, None)
        return _RangesFile(
            self,
            path,
            ranges,
            block_size=block_size or "default",
            cache_options=cache_options,
            **options,
        )

    def cat_file(
        self, path: str, start: int | None = None, end: int | None = None, **_: object
    ) -> bytes:
        """The content of a file, or its bytes from ``start`` to ``end``; both may be negative."""
        path = self._strip(path)
        with translated(path):
            records, inner = self._records(parsed(path))
            first, stop, _step = slice(start, end).indices(records.entry(inner).size)
            file = open_here(self._reader, records.key, inner)
            if file is None:
                return self._reader.ranges(records.key, inner).read(first, stop)
        with file:
            file.seek(first)
            return file.read(max(0, stop - first))

    def _records(self, address: Address) -> tuple[VersionRecords, str]:
        """The records of the version in ``address``, and the path in that version."""
        if address.depth < 3:
            if not self._is_there(address):
                raise not_there(address)
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(address))
        place = resolve_latest(self.client, address)
        return self._reader.records(key_of(place)), place.path

    def _strip(self, path: str) -> str:
        return str(self._strip_protocol(path))

    def _refuse(self, path: object = "", *_: object, **__: object) -> NoReturn:
        read_only(path)

    # Everything that changes something, by all the names that fsspec has for it.
    cp_file = pipe_file = put_file = touch = mkdir = makedirs = rmdir = _refuse
    rm = rm_file = _rm = mv = pipe = put = copy = _refuse


class LocalRanges:
    """Reads parts of an open ``file`` on this machine; threads may share it."""

    def __init__(self, file: VersionFile) -> None:
        self._file = file
        self.size = file.size

    def read(self, start: int, stop: int) -> bytes:
        """The bytes from ``start`` up to, but not including, ``stop``."""
        parts = []
        while start < stop and (part := os.pread(self._file.fileno(), stop - start, start)):
            parts.append(part)
            start += len(part)
        return b"".join(parts)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class _RangesFile(AbstractBufferedFile):  # type: ignore[misc] # fsspec has no types
    """A file that is read by ranges, with one of the caches of fsspec."""

    def __init__(
        self,
        filesystem: GobblerFileSystem,
        path: str,
        ranges: Ranges | LocalRanges,
        **options: Any,  # noqa: ANN401 - passed on
    ) -> None:
        self._ranges = ranges
        self._options = options
        super().__init__(filesystem, path, size=ranges.size, **options)

    def __reduce__(self) -> tuple[Any, ...]:
        key = self.fs.ukey(self.path)
        return _reopen, (self.fs, self.path, self._options, key, self.tell())

    def close(self) -> None:
        """Close the file; safe to call again."""
        super().close()
        if isinstance(self._ranges, LocalRanges):
            self._ranges.close()

    def _fetch_range(self, start: int, end: int) -> bytes:
        with translated(self.path):
            return self._ranges.read(start, end)


def _named(arguments: tuple[object, ...]) -> dict[str, object]:
    return dict(
        zip(("url", "registry", "cache", "force_remote", "service"), arguments, strict=False)
    )


def _reopen(
    filesystem: GobblerFileSystem, path: str, options: dict[str, Any], key: str, position: int
) -> BinaryIO | AbstractBufferedFile:
    """Open a file that was pickled, if it is still the same one."""
    if filesystem.ukey(path) != key:
        raise FileChanged(path)
    file = filesystem._open(path, **options)
    file.seek(position)
    return file


Info = dict[str, Any]
"""The info of one name, as ``fsspec`` defines it."""


def parsed(path: str) -> Address:
    """The address ``path``; nothing exists at one that is not valid."""
    try:
        return parse(path)
    except Refused as error:
        raise NotThere(error.reason, path, code=error.code, hint=error.hint) from None


def key_of(address: Address) -> VersionKey:
    """The key of the version in ``address``."""
    return VersionKey(address.project, address.asset, address.version)


def directory_info(name: str) -> Info:
    """The info of a project, an asset, a version or a directory."""
    return {"name": name, "size": 0, "type": "directory"}


def file_info(name: str, records: VersionRecords, entry: Entry) -> Info:
    """The info of a file."""
    info: Info = {
        "name": name,
        "size": entry.size,
        "type": "file",
        "md5sum": entry.md5sum,
        "created": published(records),
    }
    if entry.link is not None:
        info["link"] = entry.link.end.key.file(entry.link.end.path)
    return info


def published(records: VersionRecords) -> dt.datetime | None:
    """The time when a version was published, if its summary has it."""
    return parse_time(records.summary.upload_finish)


@contextmanager
def translated(path: str) -> Iterator[None]:
    """Turn our errors into those that callers of a filesystem expect."""
    try:
        yield
    except FileNotFoundError:
        raise
    except Missing as error:
        raise NotThere(error.message, path, code=error.code) from None
    except Forbidden as error:
        raise PermissionError(errno.EACCES, error.message, path) from error


def read_only(path: object) -> NoReturn:
    """Refuse a change."""
    raise OSError(
        errno.EROFS,
        "gobbler:// is read-only, because versions never change; "
        "publish a new one: gobbler upload DIRECTORY PROJECT/ASSET/VERSION",
        str(path),
    )
