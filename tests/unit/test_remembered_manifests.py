"""A manifest is decoded once for a request, and again when its file is another one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gobbler.errors import Fault, Missing
from gobbler.model.names import VersionKey
from gobbler.model.records import Entry, encode
from gobbler.registry import registry as module
from gobbler.registry import remembered_manifests
from gobbler.registry.remembered_manifests import RememberedManifests

KEY = VersionKey("p", "a", "1")


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of the manifests that were decoded."""
    found: list[str] = []
    real = module.decode_manifest

    def decode(content: bytes, path: str) -> object:
        found.append(path)
        return real(content, path)

    monkeypatch.setattr(module, "decode_manifest", decode)
    return found


def write(top: Path, key: VersionKey, size: int = 1) -> None:
    place = top / key.manifest
    place.parent.mkdir(parents=True, exist_ok=True)
    beside = place.with_name("..new")
    beside.write_bytes(encode({"f": Entry(size, "0" * 32)}))
    beside.rename(place)


def test_a_manifest_is_decoded_once_while_its_file_is_the_same(
    tmp_path: Path, decoded: list[str]
) -> None:
    write(tmp_path, KEY)
    registry = RememberedManifests(str(tmp_path))
    assert registry.manifest(KEY) is registry.manifest(KEY)
    assert len(decoded) == 1
    write(tmp_path, KEY, size=2)
    assert registry.manifest(KEY)["f"].size == 2
    os.utime(tmp_path / KEY.manifest, ns=(1, 1))
    assert registry.manifest(KEY)["f"].size == 2
    assert len(decoded) == 3


def test_a_manifest_that_is_gone_or_damaged_is_not_remembered(tmp_path: Path) -> None:
    write(tmp_path, KEY)
    registry = RememberedManifests(str(tmp_path))
    registry.manifest(KEY)
    (tmp_path / KEY.manifest).write_bytes(b"{")
    with pytest.raises(Fault):
        registry.manifest(KEY)
    (tmp_path / KEY.manifest).unlink()
    with pytest.raises(Missing):
        registry.manifest(KEY)


def test_few_and_small_manifests_are_kept(
    tmp_path: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = RememberedManifests(str(tmp_path))
    keys = [VersionKey("p", "a", str(number)) for number in range(3)]
    for key in keys:
        write(tmp_path, key)
        registry.manifest(key)
    registry.manifest(keys[2])
    assert len(decoded) == 3
    registry.manifest(keys[0])
    assert len(decoded) == 4, "only the last two are kept"
    monkeypatch.setattr(remembered_manifests, "REMEMBERED_FILES", 0)
    large = RememberedManifests(str(tmp_path))
    assert large.manifest(KEY) is not large.manifest(KEY)
