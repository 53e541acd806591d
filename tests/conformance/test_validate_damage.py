"""``validate_version`` finds every kind of damage, names it, and changes nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .addresses import naming, project_of
from .checks import unchanged
from .service import Service, Symlink, md5, refused

pytestmark = pytest.mark.usefixtures("writable_registry")

Damage = Callable[[Path], object]
"""Does something to the directory of a version."""


def edit(record: str, change: Callable[[dict[str, Any]], object]) -> Damage:
    """Change the content of a JSON file of the version."""

    def damage(version: Path) -> None:
        path = version / record
        content = json.loads(path.read_bytes())
        change(content)
        path.write_text(json.dumps(content))

    return damage


def write(path: str, content: bytes) -> Damage:
    return lambda version: (version / path).write_bytes(content)


def remove(path: str) -> Damage:
    return lambda version: (version / path).unlink()


def relink(path: str, target: str) -> Damage:
    """Let the link at ``path`` lead to ``target``, in which {asset} stands for its directory."""

    def damage(version: Path) -> None:
        registry = version.parents[2]
        again = f"{registry.name}/{version.parent.relative_to(registry)}"
        (version / path).unlink()
        (version / path).symlink_to(target.format(asset=version.parent, again=again))

    return damage


def both(first: Damage, second: Damage) -> Damage:
    return lambda version: (first(version), second(version))


def set_link(record: str, at: str, /, **fields: object) -> Damage:
    """Change fields of the link of ``at``; ``None`` takes one out."""

    def change(content: dict[str, Any]) -> None:
        entry = content[at]
        link = entry["link"] if record == "..manifest" else entry
        link.update(fields)
        for field in [field for field in link if link[field] is None]:
            del link[field]

    return edit(record, change)


ANOTHER = {"project": "p", "asset": "a", "version": "v", "path": "f"}

# What is done to version 3 of an asset, and what the reason must mention. "own" is a file,
# "old" a link to a link of version 2 (its ancestor is in 1), "local" a link to "own".
FILES: dict[str, tuple[Damage, str]] = {
    "a missing file": (remove("own"), "own"),
    "a missing file deeper in": (remove("d/own"), "d/own"),
    "an extra file": (write("extra", b"x"), "extra"),
    "an extra file deeper in": (write("d/extra", b"x"), "d/extra"),
    "an extra empty file": (write("extra", b""), "extra"),
    "an extra empty directory": (lambda v: (v / "d/extra").mkdir(), "d/extra"),
    "an extra link": (lambda v: (v / "extra").symlink_to("own"), "extra"),
    "a missing empty directory": (lambda v: (v / "empty").rmdir(), "empty"),
    "a directory that is not empty": (write("empty/extra", b"x"), "empty"),
    "a file instead of an empty directory": (
        both(lambda v: (v / "empty").rmdir(), write("empty", b"")),
        "empty",
    ),
    "a directory instead of a file": (
        both(remove("d/own"), lambda v: (v / "d/own").mkdir()),
        "d/own",
    ),
    "a longer file": (write("d/own", b"deeper and longer"), "d/own"),
    "an emptied file": (write("d/own", b""), "d/own"),
    "another content": (write("d/own", b"DEEPER"), "d/own"),
    "another size in the manifest": (
        edit("..manifest", lambda m: m["d/own"].update(size=9)),
        "d/own",
    ),
    "another checksum in the manifest": (
        edit("..manifest", lambda m: m["d/own"].update(md5sum=md5(b"other"))),
        "d/own",
    ),
    "a file that the manifest forgot": (edit("..manifest", lambda m: m.pop("d/own")), "d/own"),
    "a file that is only in the manifest": (
        edit("..manifest", lambda m: m.update(ghost=m["d/own"])),
        "ghost",
    ),
    "a link in the manifest for a file": (
        edit("..manifest", lambda m: m["own"].update(link=ANOTHER)),
        "own",
    ),
}

LINKS: dict[str, tuple[Damage, str]] = {
    "a missing link": (remove("old"), "old"),
    "a file instead of a link": (both(remove("old"), write("old", b"old")), "old"),
    "a file instead of a local link": (
        both(remove("d/local"), write("d/local", b"own")),
        "d/local",
    ),
    "a link to another file": (relink("old", "../1/too"), "old"),
    "a link to another file of the same content": (relink("old", "../1/same"), "old"),
    "a local link to another file": (relink("d/local", "own"), "d/local"),
    "a link to nothing": (relink("old", "../1/missing"), "old"),
    "a link to a directory": (relink("old", "../1"), "old"),
    "an absolute link": (relink("old", "{asset}/1/old"), "old"),
    "an absolute local link": (relink("d/local", "{asset}/3/own"), "d/local"),
    "a link out of the registry": (relink("old", "../../../../outside"), "old"),
    "a link out of the registry and in again": (
        relink("old", "../../../../{again}/1/old"),
        "old",
    ),
    "a link to a file of the machine": (relink("old", "/etc/hostname"), "old"),
    "a link that the manifest forgot": (edit("..manifest", lambda m: m["old"].pop("link")), "old"),
    "another parent in the manifest": (set_link("..manifest", "old", path="too"), "old"),
    "a missing parent in the manifest": (set_link("..manifest", "old", version="9"), "old"),
    "no ancestor in the manifest": (set_link("..manifest", "old", ancestor=None), "old"),
    "another ancestor in the manifest": (set_link("..manifest", "old", ancestor=ANOTHER), "old"),
    "another size in the manifest": (edit("..manifest", lambda m: m["old"].update(size=9)), "old"),
    "another checksum in the manifest": (
        edit("..manifest", lambda m: m["old"].update(md5sum=md5(b"other"))),
        "old",
    ),
    "no ..links": (remove("..links"), "..links"),
    "no ..links deeper in": (remove("d/..links"), "..links"),
    "a link that ..links forgot": (edit("..links", lambda links: links.pop("old")), "old"),
    "a link that is only in ..links": (edit("..links", lambda e: e.update(ghost=ANOTHER)), "ghost"),
    "another parent in ..links": (set_link("..links", "old", path="too"), "old"),
    "another ancestor in ..links": (set_link("..links", "old", ancestor=ANOTHER), "old"),
    "no ancestor in ..links": (set_link("..links", "old", ancestor=None), "old"),
    "..links where no link is": (write("empty/..links", json.dumps({"x": ANOTHER}).encode()), "x"),
}

SUMMARY: dict[str, tuple[Damage, str]] = {
    f"no {field}": (edit("..summary", lambda s, f=field: s.pop(f)), field)
    for field in ("upload_user_id", "upload_start", "upload_finish")
} | {
    f"{field}: {value!r}": (edit("..summary", lambda s, f=field, v=value: s.update({f: v})), field)
    for field, value in (
        ("upload_user_id", ""),
        ("upload_user_id", 5),
        ("upload_start", ""),
        ("upload_start", "yesterday"),
        ("upload_start", "2024-01-01"),
        ("upload_finish", "2024-01-01T00:00:00"),
        ("upload_finish", "2024-13-01T00:00:00Z"),
        ("upload_finish", 5),
        ("on_probation", "yes"),
    )
}


@pytest.fixture
def project(passing_project: str) -> str:
    """A project that may be damaged."""
    return passing_project


@pytest.fixture
def at(service: Service, project: str) -> str:
    """The version that is damaged."""
    asset = f"{project}/asset"
    old = {"old": b"old", "too": b"too"}
    service.upload(f"{asset}/1", {**old, "same": b"old"})
    for version in ("2", "3"):
        own = {"own": b"own" + version.encode(), "d/own": b"deeper" + version.encode()}
        links = {
            name: Symlink(service.registry / asset / f"{int(version) - 1}" / name) for name in old
        }
        tree = {**links, **own, "d/local": Symlink("../own"), "empty": None}
        service.upload(f"{asset}/{version}", tree)
    return f"{asset}/3"


def check(service: Service, at: str, damage: Damage, *names: str) -> None:
    """Damage the version; validating it fails and changes nothing."""
    service.succeed("validate_version", naming(at))
    damage(service.registry / at)
    with unchanged(service, project_of(at)):
        response = service.submit("validate_version", naming(at))
        refused(response)
    if names:
        refused(response, *names)


@pytest.mark.parametrize(("damage", "name"), FILES.values(), ids=FILES)
def test_damage_of_files_is_found(service: Service, at: str, damage: Damage, name: str) -> None:
    check(service, at, damage, name)


@pytest.mark.parametrize(("damage", "name"), LINKS.values(), ids=LINKS)
def test_damage_of_links_is_found(service: Service, at: str, damage: Damage, name: str) -> None:
    check(service, at, damage)


@pytest.mark.beyond
@pytest.mark.parametrize(("damage", "name"), LINKS.values(), ids=LINKS)
def test_damage_of_links_is_named(service: Service, at: str, damage: Damage, name: str) -> None:
    check(service, at, damage, name)


@pytest.mark.parametrize(("damage", "field"), SUMMARY.values(), ids=SUMMARY)
def test_damage_of_the_summary_is_found(
    service: Service, at: str, damage: Damage, field: str
) -> None:
    check(service, at, damage)


@pytest.mark.beyond
@pytest.mark.parametrize(("damage", "field"), SUMMARY.values(), ids=SUMMARY)
def test_damage_of_the_summary_is_named(
    service: Service, at: str, damage: Damage, field: str
) -> None:
    check(service, at, damage, "..summary", field)


@pytest.mark.parametrize("content", [None, b"", b"oops", b"[]"])
@pytest.mark.parametrize("record", ["..manifest", "..summary"])
def test_a_record_that_can_not_be_read_is_found(
    service: Service, at: str, record: str, content: bytes | None
) -> None:
    check(service, at, remove(record) if content is None else write(record, content), record)


def test_a_missing_version_that_is_linked_to_is_found(service: Service, at: str) -> None:
    asset = at.rpartition("/")[0]
    service.succeed("delete_version", naming(f"{asset}/1"))
    refused(service.submit("validate_version", naming(f"{asset}/2")))


@pytest.mark.beyond
def test_a_missing_parent_is_found_though_the_file_is_there(service: Service, at: str) -> None:
    service.succeed("delete_version", naming(f"{at.rpartition('/')[0]}/2"))
    check_again = service.submit("validate_version", naming(at))
    refused(check_again, "asset/2/old", status=400)


@pytest.mark.beyond
def test_a_file_that_is_gone_is_found_where_it_is_linked_to(service: Service, at: str) -> None:
    first = service.registry / at.rpartition("/")[0] / "1"
    check(service, at, lambda _: remove("old")(first), '"old"', "asset/1/old")


@pytest.mark.beyond
@pytest.mark.parametrize("kind", ["a FIFO", "a bad name"])
def test_what_can_not_be_in_a_version_is_found(service: Service, at: str, kind: str) -> None:
    place = "odd" if kind == "a FIFO" else "odd\x1b"
    make = os.mkfifo if kind == "a FIFO" else Path.touch
    check(service, at, lambda version: make(version / place), "odd")
