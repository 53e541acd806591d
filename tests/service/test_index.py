"""A service with an index: what it finds by it, and what it stores once."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gobbler.client import Client
from gobbler.client.testing import TestService
from gobbler.errors import Missing, Refused

from .processes import wait_for
from .test_server_starting import CLIENTS_MISTAKE, WRONG_USAGE, directories, place, refusal

__all__ = ["place"]

BIG = b"a table " * 1000


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("index")


@pytest.fixture(scope="module")
def by_project(own: Path) -> Iterator[TestService]:
    """A service that deduplicates within projects."""
    running = TestService(extra_args=["--index", str(own / "index.db"), "--dedup", "project"])
    yield running
    running.stop()


@pytest.fixture
def there(by_project: TestService) -> Client:
    return Client(by_project.url, staging=by_project.staging, registry=by_project.registry)


_names = iter(range(1000))


@pytest.fixture
def fresh(there: Client) -> str:
    name = f"p{next(_names)}"
    there.admin.create_project(name)
    return name


def publish(client: Client, address: str, files: dict[str, bytes], **options: Any) -> Any:
    """Publish ``files``; the manifest, once the service has found the version right."""
    source = Path(client.allocate_upload_directory())
    for path, content in files.items():
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        (source / path).write_bytes(content)
        (source / path).chmod(0o644)
    project, asset, version = address.split("/")
    client.upload(project, asset, version, source, **options)
    client.admin.validate_version(project, asset, version)
    shutil.rmtree(source, ignore_errors=True)
    return json.loads(Path(client.registry, address, "..manifest").read_bytes())


def links(manifest: Any) -> dict[str, str]:
    """Where the links of a manifest lead: the parent, and the ancestor if there is one."""
    found = {}
    for path, entry in manifest.items():
        if link := entry.get("link"):
            ends = [link, *([link["ancestor"]] if "ancestor" in link else [])]
            found[path] = " < ".join("/".join(list(end.values())[:4]) for end in _bare(ends))
    return found


def _bare(ends: list[Any]) -> list[dict[str, str]]:
    return [{k: end[k] for k in ("project", "asset", "version", "path")} for end in ends]


def test_a_file_of_any_version_of_the_project_is_stored_once(there: Client, fresh: str) -> None:
    p = fresh
    publish(there, f"{p}/a/1", {"old": BIG, "x": b"x"})
    publish(there, f"{p}/a/2", {"y": b"y"})
    manifest = publish(there, f"{p}/a/3", {"d/again": BIG, "new": b"new"})
    assert links(manifest) == {"d/again": f"{p}/a/1/old"}
    assert os.readlink(f"{there.registry}/{p}/a/3/d/again") == "../../1/old"
    manifest = publish(there, f"{p}/b/1", {"once": BIG, "y": b"y", "z": b"z"})
    assert links(manifest) == {"once": f"{p}/a/1/old", "y": f"{p}/a/2/y"}
    assert there.project(p).usage() == len(BIG) + len(b"x" + b"y" + b"new" + b"z")
    assert there.admin.refresh_usage(p) == there.project(p).usage()


def test_the_latest_version_comes_first(there: Client, fresh: str) -> None:
    p = fresh
    publish(there, f"{p}/a/1", {"f": BIG})
    publish(there, f"{p}/b/1", {"g": BIG})
    manifest = publish(there, f"{p}/b/2", {"g": BIG, "h": BIG})
    parent = f"{p}/b/1/g < {p}/a/1/f"
    assert links(manifest) == {"g": parent, "h": parent}


def test_the_own_asset_comes_before_others(there: Client, fresh: str) -> None:
    p = fresh
    publish(there, f"{p}/a/1", {"f": BIG})
    publish(there, f"{p}/b/1", {"g": BIG})
    publish(there, f"{p}/b/2", {"x": b"x"})
    assert links(publish(there, f"{p}/b/3", {"h": BIG})) == {"h": f"{p}/b/1/g < {p}/a/1/f"}


def test_empty_files_are_not_looked_for(there: Client, fresh: str) -> None:
    publish(there, f"{fresh}/a/1", {"empty": b""})
    assert links(publish(there, f"{fresh}/b/1", {"empty": b"", "x": b"x"})) == {}


def test_other_projects_are_not_read(there: Client, fresh: str) -> None:
    other = f"{fresh}x"  # its name starts alike
    there.admin.create_project(other)
    publish(there, f"{other}/a/1", {"f": BIG})
    assert links(publish(there, f"{fresh}/a/1", {"f": BIG})) == {}


def test_a_link_out_of_the_project_names_its_ancestor(there: Client, fresh: str) -> None:
    other = f"{fresh}-other"
    there.admin.create_project(other)
    publish(there, f"{other}/a/1", {"f": BIG})
    source = Path(there.allocate_upload_directory())
    (source / "linked").symlink_to(f"{there.registry}/{other}/a/1/f")
    there.upload(fresh, "a", "1", source)
    publish(there, f"{fresh}/a/2", {"else": b"else"})
    manifest = publish(there, f"{fresh}/b/1", {"f": BIG})
    assert links(manifest) == {"f": f"{fresh}/a/1/linked < {other}/a/1/f"}
    assert there.project(fresh).usage() == len(b"else")


def test_a_version_on_probation_is_not_linked_to_until_it_is_approved(
    there: Client, fresh: str
) -> None:
    p = fresh
    publish(there, f"{p}/a/1", {"f": BIG}, probation=True)
    assert links(publish(there, f"{p}/b/1", {"g": BIG}, probation=True)) == {}
    there.version(p, "a", "1").approve()
    assert links(publish(there, f"{p}/c/1", {"h": BIG})) == {"h": f"{p}/a/1/f"}


def test_what_is_consumed_is_stored_once(there: Client, fresh: str) -> None:
    p = fresh
    publish(there, f"{p}/a/1", {"f": BIG, "g": b"gg"})
    publish(there, f"{p}/a/2", {"n": b"n"})
    source = Path(there.allocate_upload_directory())
    (source / "h").write_bytes(BIG)
    (source / "own").write_bytes(b"own")
    for file in source.iterdir():
        file.chmod(0o644)
    there.upload(p, "b", "1", source, consume=True)
    there.admin.validate_version(p, "b", "1")
    assert links(json.loads(Path(there.registry, p, "b/1/..manifest").read_bytes())) == {
        "h": f"{p}/a/1/f"
    }
    assert [file.name for file in source.iterdir() if not file.name.startswith("..")] == []
    assert there.project(p).usage() == len(BIG) + len(b"gg" + b"n" + b"own")


def test_what_is_not_there_any_more_is_not_linked_to(there: Client, fresh: str) -> None:
    p, registry = fresh, Path(there.registry)
    publish(there, f"{p}/a/1", {"f": BIG})
    publish(there, f"{p}/a/2", {"x": b"x"})
    publish(there, f"{p}/b/1", {"same": BIG})  # now it is in the index for sure
    (registry / p / "a/1/f").write_bytes(BIG[::-1])  # damaged, with the same size
    assert links(publish(there, f"{p}/c/1", {"g": BIG})) == {}
    there.admin.delete_version(p, "c", "1")
    (registry / p / "a/1/f").unlink()
    assert links(publish(there, f"{p}/c/1", {"g": BIG})) == {}
    there.admin.delete_asset(p, "a")
    there.admin.delete_asset(p, "c")
    there.admin.delete_asset(p, "b")
    assert links(publish(there, f"{p}/d/1", {"g": BIG})) == {}


def test_a_manifest_that_is_damaged_keeps_nobody_from_uploading(there: Client, fresh: str) -> None:
    p = fresh
    publish(there, f"{p}/a/1", {"f": BIG})
    publish(there, f"{p}/b/1", {"x": b"x"})
    damaged = Path(there.registry, p, "a/1/..manifest")
    kept = damaged.read_bytes()
    damaged.write_bytes(b"{")
    assert links(publish(there, f"{p}/b/2", {"g": BIG})) == {}
    damaged.write_bytes(kept)  # other tests read the whole registry


def test_within_an_asset(tmp_path: Path) -> None:
    running = TestService(extra_args=["-index", str(tmp_path / "i.db"), "-dedup=asset"])
    try:
        client = Client(running.url, staging=running.staging, registry=running.registry)
        client.admin.create_project("p")
        publish(client, "p/a/1", {"f": BIG})
        publish(client, "p/a/2", {"x": b"x"})
        assert links(publish(client, "p/a/3", {"g": BIG})) == {"g": "p/a/1/f"}
        assert links(publish(client, "p/b/1", {"g": BIG})) == {}
    finally:
        running.stop()


def test_all_goes_on_when_the_index_is_lost(
    own: Path, there: Client, fresh: str, by_project: TestService
) -> None:
    p = fresh
    publish(there, f"{p}/a/1", {"f": BIG})
    publish(there, f"{p}/a/2", {"x": b"x"})
    (own / "index.db").unlink()
    assert links(publish(there, f"{p}/b/1", {"g": BIG})) == {"g": f"{p}/a/1/f"}
    (own / "index.db").write_bytes(b"spoilt " * 1000)
    assert links(publish(there, f"{p}/c/1", {"g": BIG})) == {"g": f"{p}/a/1/f"}
    wait_for("the warning", lambda: "rebuilding the index" in by_project.output())


@pytest.fixture
def chain(there: Client, fresh: str) -> str:
    """Versions 1 to 3 of the asset a have the same file; b/1 links to it, too."""
    for version in "123":
        publish(there, f"{fresh}/a/{version}", {"f": b"in all", "own": version.encode()})
    publish(there, f"{fresh}/b/1", {"g": b"in all"})
    return fresh


def test_show_reports_links_and_shared_content(
    there: Client, chain: str, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOBBLER_URL", str(there.url))
    p = chain
    parent = next(iter(links(json.loads(Path(there.registry, p, "b/1/..manifest").read_bytes()))))
    assert parent == "g"
    code, out, err = run("show", "--links", f"{p}/a/1", "--json")
    assert (code, err) == (0, "")
    reported = json.loads(out)
    assert reported["links"] == plainly(
        there.admin.reroute_links([{**address(f"{p}/a/1")}], dry_run=True)
    )
    assert [link["path"] for link in reported["links"]][:2] == [f"{p}/a/2/f", f"{p}/a/3/f"]
    assert reported["shared"] == [
        {"version": f"{p}/{where}", "files": 1, "size": 6, "stored": 0}
        for where in ("a/2", "a/3", "b/1")
    ]
    by_files = Client(registry=there.registry).version(p, "a", "1").relations()
    assert plainly(by_files.links) == reported["links"]
    assert plainly(by_files.shared) == reported["shared"]
    code, out, err = run("show", "--links", f"{p}/a/1")
    assert out.splitlines()[0] == f"link\t{p}/a/2/f\tcopy\t{p}/a/1/f\t6"
    assert out.splitlines()[-1] == f"shared\t{p}/b/1\t1\t6\t0"
    assert run("show", "--links", f"{p}/a")[0] != 0


def address(path: str) -> dict[str, str]:
    return dict(zip(("project", "asset", "version"), path.split("/"), strict=True))


def plainly(records: Any) -> Any:
    return [{name: getattr(r, name) for name in r.__struct_fields__} for r in records]


def test_what_is_not_there_is_missing(there: Client, fresh: str) -> None:
    publish(there, f"{fresh}/a/1", {"f": b"f"})
    for names in ((fresh, "a", "2"), (fresh, "b", "1"), ("nothing", "a", "1")):
        with pytest.raises(Missing):
            there.version(*names).relations()
        with pytest.raises(Missing):
            Client(registry=there.registry).version(*names).relations()
    with pytest.raises(Refused):
        there.version("..logs", "a", "1").relations()


def test_rerouting_goes_by_the_index(there: Client, chain: str) -> None:
    p = chain
    changed = plainly(there.admin.reroute_links([address(f"{p}/a/1")]))
    assert changed[0] == {
        "path": f"{p}/a/2/f",
        "copy": True,
        "source": f"{p}/a/1/f",
        "usage": 6,
    }
    there.admin.delete_version(p, "a", "1")
    for rest in ("a/2", "a/3", "b/1"):
        there.admin.validate_version(*f"{p}/{rest}".split("/"))
    assert there.version(p, "a", "2").relations().links
    assert there.admin.reroute_links([address(f"{p}/b/1")], dry_run=True) == []


def test_the_command_looks_after_the_index(
    own: Path, by_project: TestService, there: Client, fresh: str, run: Any, tmp_path: Path
) -> None:
    publish(there, f"{fresh}/a/1", {"f": b"f"})
    flags = ["--registry", by_project.registry, "--index", str(own / "index.db")]
    code, out, err = run("index", "rebuild", *flags)
    assert (code, err) == (0, "")
    versions = int(out.split()[1])
    assert versions >= 1
    code, out, _ = run("index", "status", *flags, "--json")
    reported = json.loads(out)
    assert (reported["versions"], reported["behind"]) == (versions, 0)
    flags[-1] = str(tmp_path / "none.db")
    code, out, err = run("index", "status", *flags)
    assert (code, out) == (1, "")
    assert "there is no such file yet" in err
    code, out, err = run("index", "status", "--registry", str(tmp_path / "no"), *flags[2:])
    assert (code, out) == (3, "")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_the_command_leaves_no_files_that_the_service_could_not_open(
    run: Any, tmp_path: Path
) -> None:
    (tmp_path / "own").mkdir()
    os.chown(tmp_path / "own", 54_321, -1)
    flags = ["--registry", str(tmp_path), "--index", str(tmp_path / "own/i.db")]
    for name in ("rebuild", "status"):
        code, out, err = run("index", name, *flags)
        assert (code, out) == (3, "")
        assert "sudo -u '#54321'" in err
    assert os.listdir(tmp_path / "own") == []


def test_dedup_beyond_the_latest_version_needs_an_index(place: Any) -> None:
    reported = refusal(*directories(place), "--dedup", "project", code=WRONG_USAGE)
    assert "--index" in reported


@pytest.mark.parametrize("where", ["staging", "registry", "open", "missing"])
def test_an_index_in_a_bad_place_is_refused(place: Any, where: str) -> None:
    if where == "open":
        (place.top / where).mkdir()
        (place.top / where).chmod(0o1777)
    reported = refusal(*directories(place), f"--index={place.top / where / 'i.db'}")
    assert "index" in reported
    assert "hint: " in reported


def test_the_index_of_another_registry_is_refused(place: Any, tmp_path: Path, run: Any) -> None:
    (tmp_path / "other").mkdir()
    flags = ["--registry", str(tmp_path / "other"), "--index", str(tmp_path / "i.db")]
    assert run("index", "rebuild", *flags)[0] == 0
    reported = refusal(*directories(place), flags[2], flags[3], code=CLIENTS_MISTAKE)
    assert "another registry" in reported
