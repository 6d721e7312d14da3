"""Distributions as they are: every round a dot on one line, the median a tick, what is allowed a line across.

Rules of this file: all lines of a picture share one scale, which begins at 0; no value is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chaos.figures import spread
from chaos.reporting.markup import Markup, el
from chaos.reporting.strips import lane

LANE_PX, AXIS_PX = 20, 18
STEPS_S = (0.01, 0.02, 0.05, 0.1, 0.2, 0.25, 0.5, 1, 2, 5, 10, 20, 50, 100)
TICKS = 6


def dots(values: Mapping[str, Sequence[float]], limit_s: float | None) -> Markup:
    """A lane for each name. `limit_s`: what is allowed, if anything is."""
    top = max((limit_s or 0.0) * 1.1, *(max(each) * 1.02 for each in values.values()))
    lanes = [_lane(name, each, limit_s, top) for name, each in values.items()]
    return el("div", *lanes, _axis(limit_s, top), class_="strip dots")


def _x(value: float, top: float) -> str:
    return f"{1 + 97 * value / top:.2f}%"


def _lane(name: str, values: Sequence[float], limit_s: float | None, top: float) -> Markup:
    drawn = [el("line", x1="1%", x2="98%", y1="50%", y2="50%", class_="ceiling")]
    if limit_s is not None:
        x = _x(limit_s, top)
        drawn.append(el("line", x1=x, x2=x, y1="0", y2="100%", class_="limit"))
    for i, value in enumerate(values):
        over = limit_s is not None and value > limit_s
        y = LANE_PX / 2 + (i % 3 - 1) * 3
        title, class_ = el("title", f"{value:.3f} s"), "dot over" if over else "dot"
        drawn.append(el("circle", title, cx=_x(value, top), cy=y, r=3, class_=class_))
    found = spread(values)
    assert found is not None
    x = _x(found.median, top)
    drawn.append(el("line", x1=x, x2=x, y1="1", y2=LANE_PX - 1, class_="median"))
    text = f"{name}: {found.n} rounds, median {found.median:.2f} s, {found.p90:.2f} s at 90%, at most {found.max:.2f} s"
    return lane(name, text, *drawn, height=LANE_PX)


def _axis(limit_s: float | None, top: float) -> Markup:
    drawn = []
    step = next((step for step in STEPS_S if top / step < TICKS), STEPS_S[-1])
    for i in range(int(top / step) + 1):
        value = i * step
        anchor = "start" if i == 0 else "end" if value > 0.97 * top else "middle"
        drawn.append(el("line", x1=_x(value, top), x2=_x(value, top), y1="0", y2="4", class_="tick"))
        drawn.append(el("text", f"{value:g} s", x=_x(value, top), y=AXIS_PX - 3, class_=f"tick {anchor}"))
    allowed = "" if limit_s is None else f"; {limit_s:g} s are allowed"
    return lane("", f"Scale from 0 to {top:g} s{allowed}", *drawn, height=AXIS_PX, class_="axis")
