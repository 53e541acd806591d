"""Names, order and defaults of the calls are facts that existing scripts rely on."""

from __future__ import annotations

import importlib
import inspect
import json

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
    "set_permissions": (
        "project, registry, staging, url, asset=None, owners=None, uploaders=None, "
        "global_write=None, append=True, spoof=None, dry_run=False"
    ),
    "approve_probation": "project, asset, version, staging, url, spoof=None",
    "reject_probation": "project, asset, version, staging, url, force=False, spoof=None",
    "remove_project": "project, staging, url",
    "remove_asset": "project, asset, staging, url, force=False",
    "remove_version": "project, asset, version, staging, url, force=False",
    "refresh_latest": "project, asset, staging, url",
    "refresh_usage": "project, staging, url",
    "reindex_version": "project, asset, version, staging, url",
    "validate_version": "project, asset, version, staging, url",
    "reroute_links": "to_delete, staging, url, dry_run=False",
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


ALAN = {"id": "alan", "trusted": True}
BOB = {"id": "bob"}


@pytest.mark.parametrize(
    ("older", "options", "sent"),
    [
        ([["o"]], {}, {"owners": ["ada", "o"]}),
        ([("o",)], {"append": False}, {"owners": ["o"]}),
        ([["o"], [BOB]], {}, {"owners": ["ada", "o"], "uploaders": [ALAN, BOB]}),
        (
            [["o"], [BOB], True, False],
            {},
            {"owners": ["o"], "uploaders": [BOB], "global_write": True},
        ),
        ([["o"], None, None, False], {}, {"owners": ["o"]}),
        ([["o"]], {"global_write": False}, {"owners": ["ada", "o"], "global_write": False}),
        ([["o"]], {"uploaders": [BOB]}, {"owners": ["ada", "o"], "uploaders": [ALAN, BOB]}),
        ([None, [BOB]], {}, {"uploaders": [ALAN, BOB]}),
        ([None, None, True], {}, {"global_write": True}),
    ],
)
def test_a_list_in_the_place_of_the_asset_is_the_older_call(
    web, tmp_path, acting_service, older, options, sent
):
    (tmp_path / "p").mkdir()
    stored = {"owners": ["ada"], "uploaders": [ALAN]}
    (tmp_path / "p" / "..permissions").write_text(json.dumps(stored))
    service = acting_service(tmp_path)
    here = ("p", str(tmp_path), str(tmp_path), web.url)
    assert pygobbler.set_permissions(*here, *older, **options) is None
    assert service.requests[0][2] == {"project": "p", "permissions": sent}
    assert pygobbler.set_permissions(*here, *older, **options, dry_run=True) == sent
    assert len(service.requests) == 1


@pytest.mark.parametrize(
    ("newer", "sent"),
    [
        (["a"], {}),
        (["a", ["o"]], {"owners": ["o"]}),
        (["a", ["o"], [BOB]], {"owners": ["o"], "uploaders": [BOB]}),
        ([None, ["o"]], {"owners": ["ada", "o"]}),
        (
            [None, ["o"], [BOB], True, False],
            {"owners": ["o"], "uploaders": [BOB], "global_write": True},
        ),
    ],
)
def test_the_newer_call_by_position(web, tmp_path, newer, sent):
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "..permissions").write_text('{"owners": ["ada"], "uploaders": []}')
    here = ("p", str(tmp_path), str(tmp_path), web.url)
    assert pygobbler.set_permissions(*here, *newer, dry_run=True) == sent
