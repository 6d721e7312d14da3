"""Curves as a picture: panels side by side, each with lines on logarithmic axes, as SVG. Pure.

Theory: on such axes growth in proportion is a straight slope, a limit is level, and where one becomes the other is a
bend, however large the figures. A dot is the median of the runs, the bar behind it reaches from the smallest to the
largest. Zero has no place there: across it stands a step left of the first value, upwards at the bottom.

Rules of this file: an axis spans a decade at least, so that noise is not drawn as a mountain; colour is never the only
sign; the ground is white, so that a dark page changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from chaos.reporting.markup import Markup, el

WIDTH, HEIGHT = 980, 340
TOP, BOTTOM, LEFT, RIGHT = 76, 64, 66, 18
"""Around what is drawn of each panel."""
PAD, LABEL_UP, LABEL_DOWN = 30, -9, 17
TICKS = 8
INK, FAINT, GRID = "#1c2733", "#44566c", "#dfe5eb"
STYLES = (("#2e6da4", None, "circle"), ("#b9560e", "6 4", "rect"))
"""Of the first line, and of the second one: colour, dashes, the shape of a dot."""


class Dot(NamedTuple):
    """What the runs found at `x`."""

    x: float
    low: float
    middle: float
    high: float


class Line(NamedTuple):
    """One curve."""

    name: str
    dots: Sequence[Dot]


class Panel(NamedTuple):
    """One figure over what grows."""

    title: str
    lines: Sequence[Line]


class Picture(NamedTuple):
    """`axis`: what grows, in words; `foot`: how it was measured."""

    title: str
    axis: str
    panels: Sequence[Panel]
    foot: str


class Axis:
    """Values from `low` to `high`, in proportion, over the pixels from `start` to `end`."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self._low, self._high, self._start, self._end = low, high, start, end

    def at(self, value: float) -> float:
        """Where it stands; at the start what is below all."""
        if self._high <= self._low:
            return (self._start + self._end) / 2
        share = math.log(max(value, self._low) / self._low) / math.log(self._high / self._low)
        return round(self._start + share * (self._end - self._start), 1)


def draw(picture: Picture) -> str:
    """The whole picture, a file of its own."""
    width = WIDTH / len(picture.panels)
    drawn = [
        el("title", picture.title), el("rect", width=WIDTH, height=HEIGHT, fill="#ffffff"),
        _text(picture.title, 16, 24, size=15, weight="bold"), *_legend(picture.panels[0].lines),
        _text(picture.foot, 16, HEIGHT - 9, size=10, fill=FAINT),
    ]  # fmt: skip
    for number, panel in enumerate(picture.panels):
        drawn.append(_panel(panel, picture.axis, number * width, width))
    return el("svg", *drawn, xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img",
              font_family="Helvetica, Arial, sans-serif") + "\n"  # fmt: skip


def _panel(panel: Panel, title: str, left: float, width: float) -> Markup:
    dots = [dot for line in panel.lines for dot in line.dots]
    low, high = bounds(value for dot in dots for value in dot[1:])
    start, end, floor = left + LEFT, left + width - RIGHT, HEIGHT - BOTTOM
    up, across = Axis(step(low), step(high), floor, TOP), places([dot.x for dot in dots], start + PAD, end - PAD)
    parts = [_text(panel.title, start, TOP - 27, size=12, fill=FAINT)]
    parts.append(_text(title, (start + end) / 2, floor + 36, size=12, fill=FAINT, anchor="middle"))
    for value in ticks(low, high):
        y = up.at(value)
        parts.append(el("line", x1=start, x2=end, y1=y, y2=y, stroke=GRID))
        parts.append(_text(short(value), start - 7, y + 4, anchor="end"))
    for value, x in across.items():
        parts.append(el("line", x1=x, x2=x, y1=floor, y2=floor + 4, stroke=INK))
        parts.append(_text(short(value), x, floor + 18, anchor="middle"))
    parts.append(el("line", x1=start, x2=end, y1=floor, y2=floor, stroke=INK))
    for line, style in zip(panel.lines, STYLES, strict=False):
        parts += _line(line, style, across, up)
    for x in across:
        parts += _labels(sorted((dot for dot in dots if dot.x == x), key=lambda dot: -dot.middle), across, up)
    return el("g", *parts)


def _line(line: Line, style: tuple[str, str | None, str], across: dict[float, float], up: Axis) -> Iterator[Markup]:
    colour, dashes, shape = style
    points = " ".join(f"{across[dot.x]:g},{up.at(dot.middle):g}" for dot in line.dots)
    yield el("polyline", points=points, fill="none", stroke=colour, stroke_width=2, stroke_dasharray=dashes)
    for dot in line.dots:
        x, y = across[dot.x], up.at(dot.middle)
        yield el("line", x1=x, x2=x, y1=up.at(dot.low), y2=up.at(dot.high), stroke=colour, stroke_width=8,
                 stroke_opacity=0.3)  # fmt: skip
        title = el("title", f"{line.name} at {dot.x:,g}: {dot.middle:,.6g}, {dot.low:,.6g} to {dot.high:,.6g}")
        if shape == "circle":
            yield el("circle", title, cx=x, cy=y, r=3.5, fill=colour)
        else:
            yield el("rect", title, x=x - 3.5, y=y - 3.5, width=7, height=7, fill=colour)


def _labels(dots: Sequence[Dot], across: dict[float, float], up: Axis) -> Iterator[Markup]:
    """The medians of one value: of the largest above it, of others below."""
    for number, dot in enumerate(dots):
        y = up.at(dot.low) + LABEL_DOWN if number else up.at(dot.high) + LABEL_UP
        yield _text(amount(dot.middle), across[dot.x], y, anchor="middle", halo="#ffffff")


def _legend(lines: Sequence[Line]) -> Iterator[Markup]:
    """What the lines are, at the right of the title; nothing where there is one."""
    x = float(WIDTH - RIGHT)
    for line, (colour, dashes, _) in reversed(list(zip(lines, STYLES, strict=False)) if len(lines) > 1 else []):
        x -= 7 * len(line.name)
        yield _text(line.name, x, 24, size=12)
        yield el("line", x1=x - 32, x2=x - 6, y1=20, y2=20, stroke=colour, stroke_width=2, stroke_dasharray=dashes)
        x -= 52


def _text(
    text: str, x: float, y: float, size: int = 11, fill: str = INK, anchor: str = "start", weight: str | None = None,
    halo: str | None = None,
) -> Markup:  # fmt: skip
    return el("text", text, x=round(x, 1), y=round(y, 1), font_size=size, fill=fill, text_anchor=anchor,
              font_weight=weight, stroke=halo, stroke_width=halo and "3", paint_order=halo and "stroke")  # fmt: skip


def places(values: Iterable[float], start: float, end: float) -> dict[float, float]:
    """Where each value stands across: zero a step left of the first one."""
    ordered = sorted(set(values))
    above = [value for value in ordered if value > 0]
    first = above[0] if above else 1.0
    zero = first * first / above[1] if len(above) > 1 else first / 10
    axis = Axis(zero if ordered[0] <= 0 else first, above[-1] if above else zero, start, end)
    return {value: axis.at(value) for value in ordered}


def bounds(values: Iterable[float]) -> tuple[int, int]:
    """The numbers of the steps below and above all of them that are not zero; a decade apart at least."""
    above = [value for value in values if value > 0] or [1.0]
    low, high = number_below(min(above)), -number_below(1 / max(above))
    while high - low < 3:
        low, high = low - 1, high + (high - low == 0)
    return low, high


def step(number: int) -> float:
    """The steps of an axis: 1, 2, 5, 10 … are those with the numbers 0, 1, 2, 3 …"""
    return (1, 2, 5)[number % 3] * 10.0 ** (number // 3)


def number_below(value: float) -> int:
    """The number of the largest step that does not exceed it."""
    power = math.floor(math.log10(value) + 1e-9)
    return 3 * power + sum(value / 10.0**power >= bound for bound in (2 - 1e-9, 5 - 1e-9))


def ticks(low: int, high: int) -> list[float]:
    """The steps to show: all of them, or powers of ten where these are too many."""
    each = range(low, high + 1)
    return [step(number) for number in each if len(each) <= TICKS or number % 3 == 0]


def short(value: float) -> str:
    """A round value on an axis: 0.5, 16, 1,024, 10k, 1M."""
    for power, letter in ((1_000_000, "M"), (1000, "k")):
        if value >= 10 * 1000 and value % power == 0:
            return f"{value / power:,g}{letter}"
    return f"{value:,g}"


def amount(value: float) -> str:
    """A value that was measured, as three digits tell it, or all before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
