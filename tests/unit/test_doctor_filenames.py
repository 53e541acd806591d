"""Names that a filesystem takes, or changes, or takes for others."""

from __future__ import annotations

import errno
import os
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from gobbler.doctor import metadata

from .doctoring import FAULT, OK, TOPIC, WARNING, small

PROBES = [metadata.long_names, metadata.kept_names, metadata.letter_case]


@pytest.mark.parametrize("probe", PROBES)
def test_a_local_filesystem_is_fit(tmp_path: Path, probe) -> None:
    assert probe(TOPIC, str(tmp_path)).verdict is OK
    assert os.listdir(tmp_path) == []


class Changing:
    """The module ``os``, on a filesystem that changes names by ``change``."""

    def __init__(self, change) -> None:
        self._change = change

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def _changed(self, path: bytes) -> bytes:
        directory, name = os.path.split(path)
        return os.path.join(directory, self._change(name.decode()).encode())

    def open(self, path: bytes, flags: int, mode: int) -> int:
        return os.open(self._changed(path), flags, mode)

    def unlink(self, path: bytes) -> None:
        os.unlink(self._changed(path))

    @property
    def path(self) -> Any:
        outer = self

        class Paths:
            def __getattr__(self, name: str) -> Any:
                return getattr(os.path, name)

            def lexists(self, path: bytes) -> bool:
                return os.path.lexists(outer._changed(path))

        return Paths()


def too_long(name: str) -> str:
    if len(name.encode()) > 143:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
    return name


def no_special_characters(name: str) -> str:
    if ":" in name:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    return name


@pytest.mark.parametrize(
    ("change", "probe", "verdict", "said"),
    [
        (too_long, metadata.long_names, WARNING, "255 bytes fail: File name too long"),
        (lambda name: name[:100], metadata.long_names, WARNING, "come back changed"),
        (no_special_characters, metadata.kept_names, WARNING, "Invalid argument"),
        (
            lambda name: unicodedata.normalize("NFD", name),
            metadata.kept_names,
            FAULT,
            "comes back changed",
        ),
        (str.lower, metadata.kept_names, FAULT, "comes back changed"),
        (str.lower, metadata.letter_case, FAULT, "upper and lower case"),
    ],
)
def test_names_that_are_refused_or_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change, probe, verdict, said: str
) -> None:
    monkeypatch.setattr(metadata, "os", Changing(change))
    found = probe(TOPIC, str(tmp_path))
    assert found.verdict is verdict
    assert said in found.sentence
    assert os.listdir(tmp_path) == []


def test_names_that_are_only_taken_for_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metadata, "_same", lambda *_: True)
    found = metadata.kept_names(TOPIC, str(tmp_path))
    assert found.verdict is FAULT
    assert "look the same" in found.sentence


def test_a_full_filesystem_is_not_taken_for_one_with_short_names(tmp_path: Path) -> None:
    with small(tmp_path, more=",nr_inodes=2"):
        (tmp_path / "last").write_text("")
        for probe in PROBES:
            found = TOPIC.attempt(probe, str(tmp_path))
            assert found.verdict is FAULT
            assert "No space left on device" in found.sentence
