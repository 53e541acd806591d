"""Headers of archives, read back."""

from __future__ import annotations

import io
import os
import tarfile

from hypothesis import given
from hypothesis import strategies as st

from gobbler.service.archive import END, directory_header, file_header, link_header, padding

NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)


@given(
    st.lists(NAMES | st.text("ab/", min_size=80, max_size=300), min_size=1, max_size=3),
    st.sampled_from([0, 1, 511, 512, 8**11 - 1, 8**11, 2**60]),
    st.sampled_from([0, 1_700_000_000, -5, 2**40]),
)
def test_headers_are_read_back(names: list[str], size: int, modified: int) -> None:
    name = "/".join(part.strip("/") or "x" for part in names)
    header = file_header(name, size, modified)
    assert len(header) % 512 == 0
    with tarfile.open(fileobj=io.BytesIO(header + END)) as archive:
        member = archive.firstmember
    assert (member.name, member.size, member.mtime) == (name, size, modified)
    assert (member.isreg(), member.mode) == (True, 0o644)


def test_odd_headers() -> None:
    odd = "p/a/1/" + os.fsdecode(b"\xff\xfe") + "x" * 200
    data = file_header(odd, 3, 1) + b"abc" + bytes(padding(3))
    data += directory_header("p/é", 1) + link_header("p/l", "../" + "y" * 300, 1) + END
    with tarfile.open(fileobj=io.BytesIO(data), errors="surrogateescape") as archive:
        file, directory, link = archive.getmembers()
        assert (file.name, file.size) == (odd, 3)
        assert (directory.name, directory.isdir(), directory.mode) == ("p/é", True, 0o755)
        assert (link.name, link.linkname) == ("p/l", "../" + "y" * 300)
