"""The table that the bench prints, and its history."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench import history
from bench.__main__ import _compared
from bench.cases import CASES, TABLE
from bench.cases.starting import BusyDisk, ClientUpload, FirstAnswer
from bench.comparison import Comparison, Side, phases
from bench.measuring import Sample
from bench.peers import Peer
from bench.session import LeftOut, Session
from docs.generate import measured


def comparison(kind, *walls):
    case = SimpleNamespace(is_typical=kind.is_typical)
    sides = [
        Side(case, [Sample(wall) for wall in each], [{"ingest": wall} for wall in each])
        for each in walls
    ]
    return Comparison(kind, sides)


def line(commit="c1", filesystem="tmpfs", memory=None, **cases):
    return {
        "date": "2026-01-02T03:04:05+00:00",
        "commit": commit,
        "machine": {"processor": "x"},
        "filesystem": filesystem,
        "peer": "Go",
        "runs": 4,
        "cases": cases,
        "memory": memory or {},
    }


def test_each_case_of_the_table_has_one_goal_and_a_title_of_its_own():
    assert [kind for kind in TABLE if (kind.goal is None) == (kind.within is None)] == []
    assert len({kind.title for kind in CASES}) == len(CASES)
    assert not any(kind.by_name for kind in TABLE)


def test_a_ratio_is_that_of_the_least_times():
    found = comparison(TABLE[0], [3.0, 2.0, 9.0], [5.0, 8.0, 7.0])
    assert found.ratio == 2.5
    times = {"ours": 2.0, "peer": 5.0, "ratio": 2.5, "goal": 2.5}
    assert history.case_of(found) == times | {"phases": {"ingest": 2.0}}


@pytest.mark.parametrize(("ours", "ratio"), [(0.2, 2.5), (0.09, None)])
def test_few_processor_seconds_make_no_ratio(ours, ratio):
    found = comparison(TABLE[0], [1.0], [1.0])
    for side, used in zip(found.sides, (ours, 0.5), strict=True):
        side.samples[0].processor = used
    assert found.processor_ratio == ratio
    assert history.case_of(found).get("processor") == ratio


def test_beside_a_busy_disk_the_median_counts():
    found = comparison(BusyDisk, [1.0, 3.0, 9.0], [5.0, 6.0, 7.0])
    case = history.case_of(found)
    assert (case["ours"], case["peer"], case["within"]) == (3.0, 6.0, 0.05)
    assert case["phases"] == {"ingest": 3.0}


@pytest.mark.parametrize(
    ("case", "below"),
    [
        ({"ours": 1.0, "peer": 2.0, "ratio": 2.0, "goal": 2.0}, False),
        ({"ours": 1.0, "peer": 1.9, "ratio": 1.9, "goal": 2.0}, True),
        ({"ours": 0.2, "peer": 0.01, "ratio": 0.05, "within": 0.2}, False),
        ({"ours": 0.21, "within": 0.2}, True),
    ],
)
def test_what_misses_its_goal_is_marked(case, below):
    row = measured.row("what", case)
    assert ("below" in row) == below
    assert row.count("|") == measured.head("ours", "Go").partition("\n")[0].count("|")


def test_memory_has_a_goal_too():
    assert "| 99 MB | 18 MB | | |" in measured.memory_row({"ours": 99_000_000, "peer": 18_000_000})
    assert "below" in measured.memory_row({"ours": 101_000_000})


def test_the_distance_is_that_to_the_faster_program():
    text = measured.limit_table({"what": {"ours": 0.5, "least": {"1": 0.25, "2": 0.2}}})
    assert text.splitlines()[-1] == "| what | 250 | 200 | 500 | 2.5 |"
    assert measured.limit_table({"what": {"ours": 0.5}}) == ""


def test_phases_are_shown_in_their_order():
    text = measured.phase_table({"what": {"phases": {"scan": 0.002, "ingest": 0.3}}, "list": {}})
    assert text.splitlines()[0] == "| case | scan | ingest |"
    assert text.splitlines()[2:] == ["| what | 2 | 300 |"]


def test_runs_of_one_commit_make_one_line(tmp_path: Path):
    path = tmp_path / "history.jsonl"
    first, second = TABLE[0].title, TABLE[1].title
    history.record(line(**{second: {"ours": 1.0}}, memory={"ours": 5}), path)
    history.record(line(**{first: {"ours": 2.0}}, memory={"ours": 4, "peer": 1}), path)
    history.record(line(**{second: {"ours": 3.0}, "gone": {"ours": 1.0}}), path)
    (found,) = measured.read(path)
    assert list(found["cases"].items()) == [(first, {"ours": 2.0}), (second, {"ours": 3.0})]
    assert found["memory"] == {"ours": 5, "peer": 1}


def test_another_commit_or_filesystem_has_a_line_of_its_own(tmp_path: Path):
    path = tmp_path / "history.jsonl"
    for commit, filesystem in (("c1", "tmpfs"), ("c1", "ext4"), ("c2", "tmpfs")):
        history.record(line(commit, filesystem), path)
    assert [found["commit"] for found in measured.read(path)] == ["c1", "c1", "c2"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["history.jsonl"]


def test_a_changed_service_is_no_commit(tmp_path: Path):
    def git(*words: str) -> None:
        who = ["-c", "user.name=x", "-c", "user.email=x@localhost"]
        subprocess.run(["git", "-C", tmp_path, *who, *words], check=True, capture_output=True)

    (tmp_path / "src").mkdir()
    (tmp_path / "src/f").write_text("1")
    git("init")
    git("add", ".")
    git("commit", "-m", "x")
    commit = history.present_commit(tmp_path)
    assert commit.isalnum()
    (tmp_path / "elsewhere").write_text("2")
    assert history.present_commit(tmp_path) == commit
    (tmp_path / "src/f").write_text("2")
    assert history.present_commit(tmp_path) == commit + "+"


def test_outside_of_a_checkout_the_commit_is_not_known(tmp_path: Path):
    assert history.present_commit(tmp_path) == "unknown"


def peer(top: Path) -> Peer:
    return Peer("other", "http://127.0.0.1:9", top, top)  # nothing listens there


def test_what_cannot_be_measured_is_left_out_with_a_reason(tmp_path: Path, monkeypatch):
    session = Session(tmp_path, [peer(tmp_path)])
    with pytest.raises(LeftOut, match="no command is known that starts other"):
        FirstAnswer.sides(session)
    with pytest.raises(LeftOut, match="--original"):
        ClientUpload.sides(session)
    monkeypatch.setattr("bench.cases.starting.filesystem", lambda _: "tmpfs")
    with pytest.raises(LeftOut, match="choose another --directory"):
        BusyDisk.sides(session)


def test_phases_are_those_of_the_metrics(tmp_path: Path, monkeypatch):
    text = (
        'gobbler_request_duration_seconds_sum{action="upload"} 0.75\n'
        'gobbler_request_duration_seconds_sum{action="create_project"} 9.0\n'
        'gobbler_upload_phase_seconds_total{phase="scan"} 0.25\n'
        'gobbler_upload_phase_seconds_total{phase="ingest"} 0.375\n'
    )
    service = peer(tmp_path)
    assert phases(service) == {}
    monkeypatch.setattr(service.connection, "get", lambda _: text.encode())
    assert phases(service) == {"scan": 0.25, "ingest": 0.375, "request": 0.125}


def test_a_case_that_fails_is_left_out_and_the_others_go_on(tmp_path: Path, monkeypatch, capsys):
    def compare(kind, session, runs, *, thorough):
        if kind is TABLE[0]:
            raise RuntimeError("other, upload: no")
        return comparison(kind, [1.0], [2.0])

    monkeypatch.setattr("bench.__main__.compare", compare)
    session = Session(tmp_path, [peer(tmp_path)])
    found = list(_compared(list(TABLE[:2]), session, 1, thorough=False))
    assert [each.kind for each in found] == [TABLE[1]]
    assert session.failed == [TABLE[0].title]
    assert f"it failed: {TABLE[0].title}: other, upload: no" in capsys.readouterr().err
