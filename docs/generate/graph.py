"""The graph of the history: how the ratio of each case to the peer has developed.

It is an SVG without scripts and fonts. It paints its own background, light or dark as the reader's
system asks, so that it is readable on every page.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from docs.generate.measured import Line

WIDTH = 800
LEFT, RIGHT = 350, 690
"""Where the scale of ratios begins and ends: between the names and the last values."""

TOP, ROW, BOTTOM = 84, 30, 34
APART = 5
"""How far the line of a filesystem is from the middle of its row."""

TICKS = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""The scale. What is beyond it is drawn at its end."""

SERIES = ("first", "second")
"""Styles of the filesystems: a colour, and a disc or a square."""

STYLE = """
.ground { fill: #ffffff } text { fill: #1f2328; font: 12px sans-serif } .dim { fill: #59636e }
.tick { stroke: #d1d9e0 } .one { stroke: #59636e } .goal { stroke: #1a7f37; stroke-width: 3 }
.line { stroke-width: 2; stroke-opacity: 0.6 }
.first { stroke: #0969da; fill: #0969da } .second { stroke: #bc4c00; fill: #bc4c00 }
text.first, text.second { stroke: none }
@media (prefers-color-scheme: dark) {
.ground { fill: #161b22 } text { fill: #e6edf3 } .dim { fill: #9198a1 }
.tick { stroke: #30363d } .one { stroke: #9198a1 } .goal { stroke: #3fb950 }
.first { stroke: #58a6ff; fill: #58a6ff } .second { stroke: #f0883e; fill: #f0883e }
}
"""


def graph(lines: Sequence[Line]) -> str:
    """The graph of all lines that were measured like the last one: machine and peer."""
    lines = comparable(lines)
    filesystems = list(dict.fromkeys(line["filesystem"] for line in lines))[: len(SERIES)]
    titles = ratio_titles(lines)
    height = TOP + ROW * len(titles) + BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        f"<title>{escape(_title(lines))}</title>",
        f"<desc>{escape(description(lines))}</desc>",
        f"<style>{STYLE}</style>",
        f'<rect class="ground" width="{WIDTH}" height="{height}" rx="6"/>',
        *_legend(lines, filesystems),
        *_scale(height - BOTTOM),
    ]
    for number, title in enumerate(titles):
        parts += _row(TOP + ROW * number + ROW // 2, title, lines, filesystems)
    return "\n".join([*parts, "</svg>", ""])


def comparable(lines: Sequence[Line]) -> list[Line]:
    """Those that were measured on the machine and against the peer of the last one, by date."""
    if not lines:
        return []
    ordered = sorted(lines, key=lambda line: line["date"])
    machine, peer = ordered[-1]["machine"], ordered[-1]["peer"]
    return [line for line in ordered if (line["machine"], line["peer"]) == (machine, peer)]


def ratio_titles(lines: Sequence[Line]) -> list[str]:
    """The cases with a goal for their ratio, as the longest line orders them."""
    found: dict[str, None] = {}
    for line in sorted(lines, key=lambda line: -len(line["cases"])):
        found |= {title: None for title, case in line["cases"].items() if "goal" in case}
    return list(found)


def description(lines: Sequence[Line]) -> str:
    """The same in words: for each case and filesystem, the first ratio and the last."""
    told = []
    for title in ratio_titles(lines):
        ratios: dict[str, list[float]] = {}
        for line in lines:
            case = line["cases"].get(title, {})
            if "ratio" in case:
                ratios.setdefault(line["filesystem"], []).append(case["ratio"])
        each = [
            f"{filesystem} from {seen[0]:.2f} to {seen[-1]:.2f}"
            if len(seen) > 1
            else f"{filesystem} {seen[0]:.2f}"
            for filesystem, seen in ratios.items()
        ]
        if each:
            told.append(f"{title}: {', '.join(each)}.")
    return " ".join(told)


def _title(lines: Sequence[Line]) -> str:
    if not lines:
        return "Nothing was measured yet."
    span = " to ".join(dict.fromkeys((_when(lines[0]), _when(lines[-1]))))
    return f"How many times as fast as {lines[-1]['peer']}: {span}"


def _when(line: Line) -> str:
    return f"{line['date'][:10]} ({line['commit']})"


def _legend(lines: Sequence[Line], filesystems: Sequence[str]) -> list[str]:
    parts = [_text(16, 26, _title(lines))]
    for number, (name, style) in enumerate(zip(filesystems, SERIES, strict=False)):
        x = 16 + 90 * number
        parts += [_mark(x + 5, 46, style, 5), _text(x + 16, 50, name)]
    parts.append(_text(196, 50, "small: earlier", "dim"))
    parts += ['<path class="goal" d="M296 40v12"/>', _text(304, 50, "goal")]
    return parts


def _scale(bottom: int) -> list[str]:
    parts = []
    for tick in TICKS:
        style = "one" if tick == 1 else "tick"
        parts.append(f'<path class="{style}" d="M{_x(tick):g} {TOP - 8}V{bottom}"/>')
        places = TOP - 14, bottom + 18
        parts += [_text(_x(tick), y, f"{tick:g}", "dim", anchor="middle") for y in places]
    return parts


def _row(middle: int, title: str, lines: Sequence[Line], filesystems: Sequence[str]) -> list[str]:
    cases = [(line["filesystem"], line["cases"].get(title, {})) for line in lines]
    goal = next(case["goal"] for _, case in reversed(cases) if "goal" in case)
    parts = [
        _text(16, middle + 4, title.replace("`", "")),
        f'<path class="goal" d="M{_x(goal):g} {middle - 10}v20"/>',
    ]
    for number, (name, style) in enumerate(zip(filesystems, SERIES, strict=False)):
        ratios = [case["ratio"] for place, case in cases if place == name and "ratio" in case]
        if not ratios:
            continue
        y = middle + (APART if number else -APART)
        ends = min(map(_x, ratios)), max(map(_x, ratios))
        parts.append(f'<path class="line {style}" d="M{ends[0]:g} {y}H{ends[1]:g}"/>')
        parts += [_mark(_x(ratio), y, style, 2) for ratio in ratios[:-1]]
        parts.append(_mark(_x(ratios[-1]), y, style, 4.5))
        parts.append(_text(RIGHT + 16 + 46 * number, middle + 4, f"{ratios[-1]:.2f}", style))
    return parts


def _x(ratio: float) -> float:
    bounded = min(max(ratio, TICKS[0]), TICKS[-1])
    share = math.log(bounded / TICKS[0]) / math.log(TICKS[-1] / TICKS[0])
    return round(LEFT + (RIGHT - LEFT) * share, 1)


def _mark(x: float, y: float, style: str, size: float) -> str:
    if style == SERIES[0]:
        return f'<circle class="{style}" cx="{x:g}" cy="{y:g}" r="{size:g}"/>'
    side = 2 * size
    return (
        f'<rect class="{style}" x="{x - size:g}" y="{y - size:g}" width="{side:g}"'
        f' height="{side:g}"/>'
    )


def _text(x: float, y: float, text: str, style: str = "", *, anchor: str = "start") -> str:
    words = f' class="{style}"' if style else ""
    words += f' text-anchor="{anchor}"' if anchor != "start" else ""
    return f'<text x="{x:g}" y="{y:g}"{words}>{escape(text)}</text>'
