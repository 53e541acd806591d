"""Arbitrary values of the registry, for property tests; and the registry that Go wrote."""

from __future__ import annotations

import functools
import tarfile
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from msgspec import UNSET

from gobbler.model.names import VersionKey
from gobbler.model.records import EMPTY_DIRECTORY, Entry, Link, Permissions, Summary, Uploader

GOLDEN = Path(__file__).parent.parent / "data" / "registry-by-go-0.5.0.tar.gz"

# How long an example takes depends on the machine, not on the code.
settings.register_profile("gobbler", deadline=None)
settings.load_profile("gobbler")


def unpack_golden(directory: Path) -> Path:
    """Unpack the registry that the Go service wrote into ``directory``, which is returned."""
    with tarfile.open(GOLDEN) as archive:
        archive.extractall(directory, filter=_as_it_is)
    return directory


def _as_it_is(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo:
    # Links out of it are part of it; everything belongs to the user who runs the tests.
    del path
    return member


@functools.cache
def golden_files() -> dict[str, bytes]:
    """The content of the golden registry's regular files by path."""
    with tempfile.TemporaryDirectory() as directory:
        top = unpack_golden(Path(directory))
        return {
            str(path.relative_to(top)): path.read_bytes()
            for path in sorted(top.rglob("*"))
            if path.is_file() and not path.is_symlink()
        }


texts = st.text(st.characters(codec="utf-8"), max_size=20)

letters = st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="/")

file_names = st.text(letters, min_size=1, max_size=20).filter(
    lambda name: name != "." and not name.startswith("..")
)
"""Valid names of users' files."""

components = file_names.map(lambda name: name.replace("\\", "_"))
"""Valid names of projects, assets and versions."""

paths = st.lists(file_names, min_size=1, max_size=4).map("/".join)
"""Valid paths of users' files in a version."""

keys = st.builds(VersionKey, components, components, components)

plain_links = st.builds(Link, components, components, components, paths)
links = st.builds(Link, components, components, components, paths, ancestor=st.none() | plain_links)

checksums = st.text("0123456789abcdef", min_size=32, max_size=32)
sizes = st.integers(0, 2**62)
entries = st.builds(Entry, sizes, checksums, st.none() | links)
plain_entries = st.builds(Entry, sizes, checksums)
manifests = st.dictionaries(paths, entries | st.just(EMPTY_DIRECTORY), max_size=6)

times = st.datetimes().map(lambda moment: moment.isoformat(timespec="seconds") + "Z")
summaries = st.builds(Summary, texts, times, times, on_probation=st.booleans())

users = st.sampled_from(["ann", "bob", "eve"])
unset = st.just(UNSET)
uploaders = st.builds(
    Uploader,
    users,
    unset | components,
    unset | components,
    unset | times,
    unset | st.booleans(),
)
permissions = st.builds(
    Permissions,
    st.lists(users, max_size=3).map(tuple),
    st.lists(uploaders, max_size=3).map(tuple),
    unset | st.booleans(),
)
