"""Names, order and defaults of the calls are facts that existing scripts rely on."""

from __future__ import annotations

import importlib
import inspect

import pytest

import gobbler
import pygobbler

NEEDED = inspect.Parameter.empty

SIGNATURES: dict[str, str] = {
    "list_projects": "registry, url, force_remote=False",
    "list_registry_directories": "path, registry, url, force_remote",
    "list_assets": "project, registry, url, force_remote=False",
    "list_versions": "project, asset, registry, url, force_remote=False",
    "list_files": (
        "project, asset, version, registry, url, prefix=None, include_dotdot=True, "
        "force_remote=False"
    ),
    "fetch_manifest": (
        "project, asset, version, registry, url, cache=None, force_remote=False, overwrite=False"
    ),
    "fetch_summary": (
        "project, asset, version, registry, url, cache=None, force_remote=False, overwrite=False"
    ),
    "fetch_latest": "project, asset, registry, url, force_remote=False",
    "fetch_permissions": "project, registry, url, asset=None, force_remote=False",
    "fetch_usage": "project, registry, url, force_remote=False",
    "fetch_file": "path, registry, url, cache=None, force_remote=False, overwrite=False",
    "fetch_directory": (
        "path, registry, url, cache=None, force_remote=False, overwrite=False, concurrent=1"
    ),
    "version_path": "project, asset, version, **kwargs",
    "service_info": "url",
    "unpack_path": "path",
    "clone_version": "project, asset, version, destination, registry",
    "allocate_upload_directory": "staging, create=True",
    "upload_directory": (
        "project, asset, version, directory, staging, url, probation=False, consume=None, "
        "ignore_dot=True, spoof=None, concurrent=1"
    ),
    "create_project": "project, staging, url, owners=None, uploaders=None",
    "start_gobbler": (
        "staging=None, registry=None, port=None, wait=1, version='0.5.0', overwrite=False, "
        "admin=None, extra_args=[]"
    ),
    "stop_gobbler": "",
}

HOMES = {"stop_gobbler": "start_gobbler", "list_registry_directories": "list_projects"}


def written(function: object) -> str:
    """The signature of ``function`` without types."""
    assert callable(function)
    signature = inspect.signature(function)
    bare = [p.replace(annotation=NEEDED) for p in signature.parameters.values()]
    return str(inspect.Signature(bare))[1:-1]


@pytest.mark.parametrize("name", SIGNATURES)
def test_signature(name):
    assert written(getattr(pygobbler, name)) == SIGNATURES[name]


@pytest.mark.parametrize("name", SIGNATURES)
def test_every_call_has_a_module_of_its_own_name(name):
    module = importlib.import_module(f"pygobbler.{HOMES.get(name, name)}")
    assert getattr(module, name) is getattr(pygobbler, name)
    assert inspect.getdoc(getattr(module, name))
    assert module.__doc__


@pytest.mark.parametrize("name", SIGNATURES)
def test_every_parameter_is_documented(name):
    function = getattr(pygobbler, name)
    doc = inspect.getdoc(function) or ""
    for parameter in inspect.signature(function).parameters:
        assert f"\n    {parameter}:\n" in doc


def test_nothing_else_is_promised():
    assert set(pygobbler.__all__) == {*SIGNATURES, "__version__"}
    assert pygobbler.__version__ == gobbler.__version__


def test_a_bool_in_the_place_of_the_asset_is_the_older_call(web, tmp_path):
    web.put("/fetch/p/..permissions", '{"owners": ["remote"], "uploaders": null}')
    web.put("/fetch/p/a/..permissions", '{"owners": ["asset"], "uploaders": []}')
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "..permissions").write_text('{"owners": ["local"], "uploaders": []}')

    def fetch(*args: object, **kwargs: object) -> object:
        return pygobbler.fetch_permissions("p", str(tmp_path), web.url, *args, **kwargs)

    assert fetch() == fetch(False) == {"owners": ["local"], "uploaders": []}
    assert fetch(True) == fetch(force_remote=True) == {"owners": ["remote"], "uploaders": []}
    assert fetch("a", True) == {"owners": ["asset"], "uploaders": []}
    assert fetch("a") == {"owners": [], "uploaders": []}
