"""The doctor as a whole: what it finds, what it leaves (nothing), and what it can do as whom."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gobbler.doctor import examination, host, scratch
from gobbler.doctor.contenders import Contender
from gobbler.doctor.examination import Tools, examine
from gobbler.doctor.findings import Finding, Verdict, worst
from gobbler.errors import Fault, Forbidden, Missing

from .doctoring import (
    FAULT,
    OK,
    TOPIC,
    WARNING,
    World,
    as_nobody,
    fill,
    mounted,
    new_world,
    small,
    verdicts,
)


@pytest.fixture
def world() -> Iterator[World]:
    with new_world() as made:
        yield made


DEPENDS = {("host", "account"), ("host", "installation"), ("host", "open files")} | {
    (where, what) for where in ("staging", "registry") for what in ("filesystem", "space", "inodes")
}
"""What depends on the machine that the tests run on."""


def wrong(world: World, tools: Tools | None = None) -> dict[tuple[str, str], Verdict]:
    """What the doctor finds wrong, but for what depends on the machine."""
    arguments = () if tools is None else (tools,)
    found = verdicts(examine(world.staging.path, world.registry.path, *arguments))
    return {about: verdict for about, verdict in found.items() if about not in DEPENDS}


def everything_below(top: Path) -> set[str]:
    return {
        str(path.relative_to(top)) + f" {path.lstat().st_mtime_ns if path.is_file() else ''}"
        for path in top.rglob("*")
    }


def test_what_needs_proc_says_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scratch, "DESCRIPTORS", str(world.top / "missing"))
    found = [
        each for each in examine(world.staging.path, world.registry.path) if each.verdict is FAULT
    ]
    assert {each.where for each in found} == {"staging", "registry", "both"}
    assert all("/proc is not mounted" in each.sentence for each in found)


def test_good_directories_are_fit_and_stay_as_they_are(world: World) -> None:
    for path, mode in (*world.staging.own, *world.registry.own):
        os.mkdir(path)
        os.chmod(path, mode)
    version = Path(world.registry.path, "project/asset/version")
    version.mkdir(parents=True)
    (version / "file").write_text("content")
    before = everything_below(world.top)
    times = {path: path.stat().st_mtime_ns for path in (version, *version.parents[:2])}
    assert wrong(world) == {}
    assert everything_below(world.top) == before
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_every_probe_has_its_say(world: World) -> None:
    found = examine(world.staging.path, world.registry.path)
    about = [(f.where, f.what) for f in found]
    for where, what in [
        ("host", "account"),
        ("host", "umask"),
        ("both", "apart"),
        ("both", "copying"),
        ("registry", "locks"),
        ("registry", "rename"),
        ("registry", "replacing"),
        ("registry", "hard links"),
        ("registry", "..incoming"),
        ("staging", "..requests"),
        ("staging", "sticky bit"),
        *((w, t) for w in ("staging", "registry") for t in ("exclusive creation", "clock", "ACL")),
        *((w, t) for w in ("staging", "registry") for t in ("times", "names", "flushing", "space")),
    ]:
        assert (where, what) in about
    assert "probing" not in {what for _, what in about}
    assert all(f.sentence and not f.sentence.endswith(".") for f in found)
    assert all(f.remedy for f in found if f.verdict is not OK)
    assert not any("/proc/self/fd" in f.sentence + f.remedy for f in found)


class Everybodys(Contender):
    def ask(self, *words: object) -> str:
        return "held" if words[0] == "lock" else super().ask(*words)


class Broken(Contender):
    def ask(self, *words: object) -> str:
        raise RuntimeError("a mistake of ours")


def test_several_faults_are_all_found(world: World) -> None:
    os.chmod(world.staging.path, 0o733)
    os.chmod(world.registry.path, 0o1777)
    Path(world.registry.path, "..incoming").mkdir(mode=0o755)
    tools = Tools(contender=Everybodys, now=lambda: time.time() + 3600)
    assert wrong(world, tools) == {
        ("staging", "sticky bit"): FAULT,
        ("staging", "clock"): FAULT,
        ("registry", "writers"): FAULT,
        ("registry", "..incoming"): WARNING,
        ("registry", "clock"): FAULT,
        ("registry", "locks"): FAULT,
    }


def test_nothing_is_left_where_a_probe_fails(world: World) -> None:
    before = everything_below(world.top)
    with pytest.raises(RuntimeError):
        examine(world.staging.path, world.registry.path, Tools(contender=Broken))
    assert everything_below(world.top) == before


def test_nothing_is_said_about_the_inside_of_what_is_missing(world: World) -> None:
    os.rmdir(world.registry.path)
    assert wrong(world) == {("registry", "exists"): FAULT}
    os.rmdir(world.staging.path)
    assert set(wrong(world)) == {("registry", "exists"), ("staging", "exists")}


def test_what_can_not_be_written_is_not_tried_out(world: World) -> None:
    found = as_nobody(examine, world.staging.path, world.registry.path)
    reported = {about: v for about, v in verdicts(found).items() if about not in DEPENDS}
    assert reported == {("staging", "access"): WARNING, ("registry", "access"): FAULT}
    tried = {f.where for f in found if f.what == "exclusive creation"}
    assert tried == {"staging"}


def test_incoming_on_another_filesystem(world: World) -> None:
    incoming = Path(world.registry.path, "..incoming")
    incoming.mkdir(mode=0o700)
    with small(incoming, "64m"):
        incoming.chmod(0o700)
        found = wrong(world)
    assert found == {
        ("registry", "mounts inside"): FAULT,
        ("registry", "one filesystem"): FAULT,
        ("registry", "rename"): FAULT,
    }


def test_a_full_disk_is_reported_once(world: World) -> None:
    with small(world.registry.path):
        fill(world.registry.path)
        found = verdicts(examine(world.staging.path, world.registry.path))
    assert [about for about, verdict in found.items() if verdict is FAULT] == [
        ("registry", "space")
    ]


def test_a_read_only_registry_is_reported_with_its_mount(world: World) -> None:
    path = world.registry.path
    with mounted(path, "--bind", path):
        os.system(f"mount -o remount,bind,ro {path}")
        found = wrong(world)
    assert found == {("registry", "access"): FAULT, ("registry", "mount options"): FAULT}


def test_what_a_killed_doctor_left_is_removed_by_a_later_one(world: World) -> None:
    Path(world.registry.path, "..incoming").mkdir(mode=0o700)
    long_ago = time.time() - 2 * scratch.ABANDONED_AFTER
    for parent in (Path(world.staging.path), Path(world.registry.path, "..incoming")):
        for name in ("..doctor-old", "..doctor-new"):
            (parent / name).mkdir()
            (parent / name / "file").write_text("")
        for path in (parent / "..doctor-old/file", parent / "..doctor-old"):
            os.utime(path, (long_ago, long_ago))
    examine(world.staging.path, world.registry.path)
    for parent in (Path(world.staging.path), Path(world.registry.path, "..incoming")):
        assert os.listdir(parent) == ["..doctor-new"]


def test_a_workplace_that_somebody_swaps_is_not_followed(world: World, tmp_path: Path) -> None:
    with scratch.scratch_directory(world.staging) as path:
        (name,) = os.listdir(world.staging.path)
        os.rename(f"{world.staging.path}/{name}", f"{world.staging.path}/away")
        os.symlink(tmp_path, f"{world.staging.path}/{name}")
        scratch.create_file(f"{path}/file")
    assert os.listdir(tmp_path) == []
    assert os.listdir(world.staging.path) == ["away"], "the link is removed, not what it names"
    assert os.listdir(f"{world.staging.path}/away") == ["file"]


def test_the_quick_part_reports_what_a_start_must_know(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examination, "reports_all_changes", lambda path: False)
    found = list(examination.quick(world.registry))
    about = [f.what for f in found]
    for what in ("space", "new files", "rename", "exclusive creation", "locks"):
        assert what in about
    assert worst(f for f in found if f.what not in ("space", "inodes")) is OK
    assert os.listdir(world.registry.path) == []


def test_a_quick_look_at_a_full_disk_goes_no_further(world: World) -> None:
    with small(world.registry.path, more=",nr_inodes=3"):
        for name in "ab":
            Path(world.registry.path, name).write_text("")
        about = {f.what for f in examination.quick(world.registry)}
    assert about == {"one filesystem", "space", "inodes"}


def test_the_account_that_probes_is_reported(world: World) -> None:
    account = host.current_account()
    found = host.account(TOPIC, world.registry.path)
    assert account in found.sentence
    if os.geteuid() == 0:
        assert found.verdict is WARNING
        os.chown(world.registry.path, 54_321, -1)
        assert "--user user ID 54321" in host.account(TOPIC, world.registry.path).remedy
        assert host.account(TOPIC, "/nowhere").verdict is WARNING
    assert as_nobody(host.account, TOPIC, world.registry.path).sentence == "probed as nobody"


def test_acting_for_another_account() -> None:
    with pytest.raises(Missing, match="no account"):
        host.as_account("no such account", os.geteuid)
    assert host.as_account(host.current_account(), os.geteuid) == os.geteuid()
    assert as_nobody(host.current_account) == "nobody"
    with pytest.raises(Forbidden, match="only root can act as root"):
        as_nobody(host.as_account, "root", os.geteuid)


def test_a_system_that_does_not_allow_it_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(account: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(host, "_become", refuse)
    with pytest.raises(Fault, match="can't act as nobody: Operation not permitted"):
        as_nobody(host.current_account)
    monkeypatch.setattr(host, "_become", lambda account: os._exit(1))
    with pytest.raises(Fault, match="ended early"):
        as_nobody(host.current_account)


def test_the_host_is_examined() -> None:
    assert host.umask(TOPIC, 0o022).verdict is OK
    assert "sets its own, 022" in host.umask(TOPIC, 0o077).sentence
    assert host.installation(TOPIC).verdict is OK
    assert host.installation(TOPIC, "/etc/passwd").verdict is WARNING
    for hard, verdict in ((1024, WARNING), (4096, OK), (resource.RLIM_INFINITY, OK)):
        found = host.open_files(TOPIC, lambda _, hard=hard: (256, hard))
        assert found.verdict is verdict


@pytest.mark.parametrize(("content", "verdict"), [("1\n", OK), ("0\n", WARNING), (None, OK)])
def test_whether_users_can_link_files_of_others(
    tmp_path: Path, content: str | None, verdict: Verdict
) -> None:
    setting = tmp_path / "protected_hardlinks"
    if content is not None:
        setting.write_text(content)
    found = host.hard_links(TOPIC, str(setting))
    assert found.verdict is verdict
    assert ("sysctl" in found.remedy) == (verdict is WARNING)


def test_the_umask_is_the_services_while_it_probes_and_put_back(world: World) -> None:
    before = os.umask(0o077)
    try:
        assert wrong(world) == {}
    finally:
        assert os.umask(before) == 0o077


def test_the_worst_of_nothing_is_good() -> None:
    assert worst([]) is OK
    made = [Finding("host", "x", verdict, "") for verdict in (WARNING, FAULT, OK)]
    assert worst(made) is FAULT
    assert worst(made[:1]) is WARNING


def test_a_failure_with_a_hint_keeps_it() -> None:
    def probe(topic: object) -> Finding:
        raise Fault("the reason", hint="The hint.")

    found = TOPIC.attempt(probe)
    assert (found.verdict, found.remedy) == (FAULT, "The hint.")
    assert "the reason" in found.sentence
