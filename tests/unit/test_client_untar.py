"""Archives as the service streams them, and as a hostile one might."""

from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gobbler.client.archive import Untar
from gobbler.client.errors import BrokenOff
from gobbler.errors import Fault, GobblerError
from gobbler.service.archive import END, directory_header, file_header, padding

TOP = "p/a/1"


def file(path: str, data: bytes) -> bytes:
    return file_header(path, len(data), 1) + data + bytes(padding(len(data)))


def chunked(data: bytes, size: int) -> list[bytes]:
    return [data[i : i + size] for i in range(0, len(data), size)]


def read(chunks: list[bytes], *, in_pieces: bool = False) -> dict[str, bytes | None]:
    found: dict[str, bytes | None] = {}
    untar = Untar(chunks, TOP)
    for member in untar:
        if member.is_directory:
            found[member.path] = None
        else:
            data = b"".join(untar.pieces()) if in_pieces else untar.content()
            assert len(data) == member.size
            found[member.path] = data
    return found


NAMES = st.text(
    st.characters(exclude_characters="\0/", exclude_categories=["Cs"]), min_size=1, max_size=90
).filter(lambda name: name not in (".", ".."))
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)


@given(
    st.dictionaries(PATHS, st.binary(max_size=1500), max_size=5),
    st.sampled_from([1, 100, 512, 700, 10_000]),
    st.booleans(),
)
def test_what_the_service_writes_is_read_back(files, size, in_pieces):
    data = directory_header(TOP, 1) + b"".join(
        file(f"{TOP}/{path}", content) for path, content in files.items()
    )
    assert read(chunked(data + END, size), in_pieces=in_pieces) == {"": None, **files}


def test_content_that_nobody_wants_is_passed_over():
    data = file(f"{TOP}/a", b"x" * 2000) + file(f"{TOP}/b", b"y") + END
    assert [member.path for member in Untar(chunked(data, 600), TOP)] == ["a", "b"]


WHOLE = directory_header(TOP, 1) + file(f"{TOP}/a", b"x" * 700) + END


@pytest.mark.parametrize("length", [0, 1, 511, 512, 600, 1024, 1500, 2047, 2048])
def test_an_archive_that_ends_too_early(length):
    with pytest.raises(BrokenOff):
        read([WHOLE[:length]])


@pytest.mark.parametrize(
    "path",
    [
        "p/a/2/f",
        "p/a/1",
        "p/a/1x/f",
        "/etc/passwd",
        "p/a/1/../2/f",
        "p/a/1/./f",
        "p/a/1//f",
        "p/a/1/..",
        "../p/a/1/f",
        "p/a/1/" + "../" * 50 + "f",
    ],
)
def test_what_would_leave_the_directory_is_refused(path):
    with pytest.raises(Fault):
        read([file(path, b"") + END])


@pytest.mark.parametrize(
    "kind",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.GNUTYPE_SPARSE],
)
def test_nothing_but_files_and_directories(kind):
    member = tarfile.TarInfo(f"{TOP}/f")
    member.type = kind
    member.linkname = "/etc/passwd"
    with pytest.raises(Fault, match="neither a file nor a directory"):
        read([member.tobuf(tarfile.PAX_FORMAT) + END])


@pytest.mark.parametrize("data", [b"<html>" * 200, b"\xff" * 1024, bytes(511) + b"x" + bytes(600)])
def test_what_is_no_archive(data):
    with pytest.raises(Fault, match="can't be read"):
        read([data])


@given(st.integers(0, len(WHOLE) - 1), st.integers(0, 255))
def test_a_wrong_byte_never_leads_out(place, value):
    data = bytearray(WHOLE)
    data[place] = value
    try:
        found = read([bytes(data)])
    except GobblerError:
        return
    assert not any(part == ".." for path in found for part in path.split("/"))


@pytest.mark.parametrize(
    "records", [b"x", b"9 path", b"10 path=xx", b"0 a=b\n", b"99999999 a=b\n", b"12 size=-15\n"]
)
def test_odd_pax_headers(records):
    data = file("x", records)
    header = bytearray(data)
    header[156:157] = b"x"
    with pytest.raises(Fault):
        read([bytes(header) + file(f"{TOP}/a", b"") + END])


def test_a_pax_header_without_end_is_not_waited_for():
    header = bytearray(file_header("x", 1 << 30, 1))
    header[156:157] = b"x"
    with pytest.raises(Fault, match="too long"):
        read([bytes(header)])


def test_the_standard_library_reads_the_same():
    with tarfile.open(fileobj=io.BytesIO(WHOLE)) as archive:
        names = [member.name.removeprefix(TOP).lstrip("/") for member in archive]
    assert names == list(read([WHOLE]))
