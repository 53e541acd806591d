"""The graph of what the bench has measured, and the page that shows it."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from docs.generate.graph import LEFT, RIGHT, comparable, description, graph
from docs.generate.measured import Case, Line
from docs.generate.speed import with_figures

SVG = "{http://www.w3.org/2000/svg}"


def line(day: int, filesystem: str = "tmpfs", peer: str = "Go", **ratios: float) -> Line:
    cases = {
        title: Case(ours=1.0, peer=ratio, ratio=ratio, goal=2.0) for title, ratio in ratios.items()
    }
    return {
        "date": f"2026-01-{day:02}T00:00:00+00:00",
        "commit": f"c{day}",
        "machine": {"processor": "x", "processors": "2", "kernel": "6", "python": "3"},
        "filesystem": filesystem,
        "peer": peer,
        "runs": 4,
        "cases": cases | {"start": Case(ours=0.1, within=0.2)},
        "memory": {},
    }


def drawn(*lines: Line) -> ElementTree.Element:
    return ElementTree.fromstring(graph(lines))


def marks(image: ElementTree.Element, style: str) -> list[float]:
    """The places of the marks of a filesystem on the scale."""
    return [
        float(circle.attrib["cx"])
        for circle in image.iter(f"{SVG}circle")
        if circle.attrib["class"] == style and float(circle.attrib["cx"]) >= LEFT
    ]


def test_a_faster_commit_is_further_right_and_its_ratio_is_written():
    image = drawn(line(1, upload=0.5), line(2, upload=2.0))
    first, second = marks(image, "first")
    assert LEFT < first < second < RIGHT
    texts = [text.text for text in image.iter(f"{SVG}text")]
    assert "upload" in texts
    assert "2.00" in texts
    assert "start" not in texts  # its goal is a time


def test_what_is_beyond_the_scale_is_at_its_end():
    assert marks(drawn(line(1, upload=0.001), line(2, upload=1000.0)), "first") == [LEFT, RIGHT]


def test_only_runs_on_one_machine_and_against_one_peer_are_compared():
    other = line(1, peer="another", upload=9.0)
    assert [found["commit"] for found in comparable([line(3), other, line(2)])] == ["c2", "c3"]
    assert comparable([]) == []


def test_the_graph_is_told_in_words():
    lines = [line(1, upload=0.5), line(2, upload=2.0), line(2, "ext4", upload=1.5)]
    told = "upload: tmpfs from 0.50 to 2.00, ext4 1.50."
    assert description(lines) == told
    image = drawn(*lines)
    assert image.findtext(f"{SVG}desc") == told
    assert image.attrib["role"] == "img"


def test_names_are_text_not_markup():
    image = drawn(line(1, **{"<b>&": 1.0}))
    assert "<b>&" in [text.text for text in image.iter(f"{SVG}text")]


def test_without_a_history_there_is_a_graph_that_says_so():
    assert "Nothing was measured yet." in graph([])


PAGE = """# Speed

<!-- measured: table ext4 -->
old
<!-- end -->

Kept.

<!-- measured: table tmpfs -->
<!-- end -->
"""


def test_a_page_gets_the_latest_figures():
    lines = [line(1, upload=0.5), line(2, upload=2.0)]
    page = with_figures(PAGE, lines)
    assert "old" not in page
    assert "Not measured on ext4." in page
    assert "Kept." in page
    assert "Commit `c2`, 2026-01-02" in page
    assert "| upload | 1.00 s | 2.00 s | 2.00 |  | 2 |  |" in page
    assert with_figures(page, lines) == page


def test_an_unknown_part_is_an_error():
    with pytest.raises(KeyError):
        with_figures("<!-- measured: nothing -->\n<!-- end -->\n", [])
