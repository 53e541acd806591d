"""Functions that read share a client as long as nothing else has changed."""

from __future__ import annotations

import os

import pytest

import pygobbler
from pygobbler._reading import reading_client

URL = "http://127.0.0.1:1"


def test_the_same_arguments_get_the_same_client(tmp_path):
    first = reading_client(URL, str(tmp_path))
    assert reading_client(URL, str(tmp_path)) is first
    assert reading_client(URL, tmp_path) is first
    assert reading_client(URL, str(tmp_path), force_remote=True) is not first
    assert reading_client(URL, str(tmp_path), cache=str(tmp_path)) is not first


@pytest.mark.parametrize("name", ["GOBBLER_OFFLINE", "GOBBLER_CACHE", "HOME"])
def test_another_environment_gets_another(tmp_path, monkeypatch, name):
    first = reading_client(URL, str(tmp_path))
    monkeypatch.setenv(name, str(tmp_path))
    assert reading_client(URL, str(tmp_path)) is not first


def test_a_directory_is_where_this_process_is_now(tmp_path, monkeypatch):
    for name in ("a", "b"):
        registry = tmp_path / name / "registry"
        (registry / "..logs").mkdir(parents=True)
        (registry / f"project-{name}").mkdir()
        monkeypatch.chdir(tmp_path / name)
        assert pygobbler.list_projects("registry", URL) == [f"project-{name}"]


def test_a_registry_that_is_mounted_later_is_read_directly(tmp_path, web):
    web.put("/list", '["far/"]')
    registry = tmp_path / "registry"
    assert pygobbler.list_projects(str(registry), web.url) == ["far"]
    (registry / "..logs").mkdir(parents=True)
    (registry / "near").mkdir()
    assert pygobbler.list_projects(str(registry), web.url) == ["near"]
    os.rename(registry, tmp_path / "away")
    assert pygobbler.list_projects(str(registry), web.url) == ["far"]
