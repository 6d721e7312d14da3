"""The picture of a run: lanes above one another, all over the same time, cut into strips where the run is long.

    phases         warm, faults, heal, drain
    a lane for each fault: bars from injection to heal, hatched where it was not shown to take hold; a thin line from
                   there until the nodes were whole again
    a lane for each node: a line while it answers, a block with the term's number while it leads
    longest gap    where it is, and how long
    publishes, consumes: acknowledged a second
    seconds

Theory. Everything is placed in percent of the lane's width, and text keeps its size, so that one picture fits a phone
and a wide screen. A text stands inside a bar only where the bar surely holds it, on a wide screen (`wide`) or on any;
whatever has no room is still there for the pointer and for a screen reader, and stands in the table of rounds.

Rules of this file: nothing is computed from records here; colour is never the only sign.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import ceil

from chaos.figures import Figures, Round
from chaos.reporting.markup import Markup, el, join
from chaos.reporting.timeline import STEP_S, Span, Timeline

STRIP_S = 300.0
"""A strip is at most so long."""
LANE_PX, AREA_PX, AXIS_PX = 16, 44, 18
NARROW_PX, WIDE_PX, CHARACTER_PX = 185, 860, 7
"""Width of a lane at least, on a phone and on a wide screen, and of a character."""
TONES = 4
"""Colours of terms, used in turn."""
TICKS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600)
TICKS, TICKS_NARROW = 16, 5


class Strip:
    """The time from `start` to `end` over the width of a lane."""

    def __init__(self, start: float, end: float) -> None:
        self.start, self.end = start, end

    def x(self, at: float) -> float:
        """In percent, cut at the ends."""
        share = (at - self.start) / (self.end - self.start)
        return round(100 * min(max(share, 0.0), 1.0), 3)

    def shows(self, start: float, end: float) -> bool:
        """Part of it lies in here; a moment belongs to one strip alone."""
        return start < self.end and (end > self.start or start == end == self.start)

    def bar(self, start: float, end: float, title: str, text: str, class_: str, height: int = LANE_PX) -> Markup:
        """A bar with its text inside, if there is room."""
        x, width = self.x(start), round(self.x(end) - self.x(start), 3)
        rect = el("rect", x=f"{x:g}%", y="1", width=f"{width:g}%", height=height - 2, class_=class_)
        fits = _fits(width, text)
        if fits is None:
            return el("g", el("title", title), rect)
        inside = el("text", text, x=f"{x + width / 2:g}%", y=height - 4, class_=f"in {fits} {class_}")
        return el("g", el("title", title), rect, inside)


def _fits(width: float, text: str) -> str | None:
    """The class of a text in a bar so many percent wide; None where it has no room at all."""
    needs = len(text) * CHARACTER_PX + 2
    if not text or width / 100 * WIDE_PX < needs:
        return None
    return "" if width / 100 * NARROW_PX >= needs else "wide"


def lane(label: str, title: str, *drawn: str, height: int = LANE_PX, class_: str = "") -> Markup:
    """A line of the picture with its name before it."""
    svg = el("svg", el("title", title), *drawn, role="img", width="100%", height=height)
    return el("div", el("span", label, class_="label", aria_hidden="true"), svg, class_=f"lane {class_}".strip())


def draw(timeline: Timeline, figures: Figures, nodes: int) -> Markup:
    """The whole picture."""
    start, length = timeline.start, max(timeline.end - timeline.start, 1.0)
    count = ceil(length / STRIP_S)
    strips = [Strip(start + length * i / count, start + length * (i + 1) / count) for i in range(count)]
    tones = {term: i % TONES for i, term in enumerate(sorted({span.term or 0 for span in timeline.led}))}
    top = nice(max((*timeline.published, *timeline.consumed), default=0.0))
    return join(*(_strip(strip, timeline, figures, nodes, tones, top) for strip in strips))


def nice(value: float) -> float:
    """The next round number: 1, 2, 3, 4, 5, 6, 8 or 10 times a power of ten, at least 1."""
    power = 1.0
    while power * 10 < value:
        power *= 10
    return next((power * times for times in (1, 2, 3, 4, 5, 6, 8) if power * times >= value), power * 10)


def _strip(strip: Strip, timeline: Timeline, figures: Figures, nodes: int, tones: dict[int, int], top: float) -> Markup:
    end = timeline.end
    rounds = [each for each in figures.rounds if strip.shows(each.inject_at, _over(each, end))]
    shade = join(*_shade(strip, rounds, end))
    lanes = [_phases(strip, timeline)]
    for name in dict.fromkeys(each.fault for each in rounds):
        lanes.append(_fault(strip, name, [each for each in rounds if each.fault == name], end))
    for node in range(nodes):
        lanes.append(_node(strip, node, timeline, shade, tones))
    gap_end = figures.longest_gap_at + figures.longest_gap_s
    gap = Markup("")
    if figures.longest_gap_s and strip.shows(figures.longest_gap_at, gap_end):
        lanes.append(_gap(strip, figures.longest_gap_at, gap_end))
        gap = strip.bar(figures.longest_gap_at, gap_end, "the longest gap", "", "gap-band", AREA_PX)
    for name, rates in (("publishes", timeline.published), ("consumes", timeline.consumed)):
        lanes.append(_rates(strip, name, rates, top, join(shade, gap)))
    lanes.append(_axis(strip))
    return el("div", *lanes, class_="strip")


def _over(each: Round, end: float) -> float:
    """When a round's picture ends: whole again, healed, or the end of all."""
    if each.heal_at is None:
        return end
    return each.heal_at + (each.redundant_s or 0.0)


def _shade(strip: Strip, rounds: Iterable[Round], end: float) -> Iterator[Markup]:
    """Where faults are active, behind what other lanes show."""
    for each in rounds:
        x, until = strip.x(each.inject_at), strip.x(end if each.heal_at is None else each.heal_at)
        yield el("rect", x=f"{x:g}%", y="0", width=f"{until - x:g}%", height="100%", class_="shade")


def _phases(strip: Strip, timeline: Timeline) -> Markup:
    starts = [at for _, at in timeline.phases]
    drawn = [
        strip.bar(start, end, f"{name}, {start:.1f} s to {end:.1f} s", name, f"phase phase-{i % 2}")
        for i, ((name, start), end) in enumerate(zip(timeline.phases, [*starts[1:], timeline.end], strict=False))
        if strip.shows(start, end)
    ]
    names = ", ".join(f"{name} from {at:.1f} s" for name, at in timeline.phases)
    return lane("phase", f"Phases: {names}", *drawn)


def _fault(strip: Strip, name: str, rounds: Sequence[Round], end: float) -> Markup:
    drawn: list[Markup] = []
    for each in rounds:
        healed = end if each.heal_at is None else each.heal_at
        over = _over(each, end)
        if over > healed:
            line = {"x1": f"{strip.x(healed):g}%", "x2": f"{strip.x(over):g}%", "y1": "50%", "y2": "50%"}
            drawn.append(el("line", class_="returning", **line))
        nodes = " ".join(map(str, each.targets))
        whom = f" on node {nodes}" if nodes else ""
        said = "took hold" if each.proven else "not shown to take hold"
        title = f"round {each.number}: {name}{whom}, {each.inject_at:.1f} s to {healed:.1f} s, {said}"
        kind = "proven" if each.proven else "unproven"
        drawn.append(strip.bar(each.inject_at, healed, title, nodes if each.proven else "?", f"fault {kind}"))
    proven = sum(each.proven for each in rounds)
    times = "once" if len(rounds) == 1 else f"{len(rounds)} times"
    return lane(name, f"{name}: {times}, {proven} shown to have taken hold", *drawn)


def _node(strip: Strip, node: int, timeline: Timeline, shade: Markup, tones: dict[int, int]) -> Markup:
    drawn: list[Markup] = [shade]
    for span in _in(strip, timeline.answered, node):
        x1, x2 = f"{strip.x(span.start):g}%", f"{strip.x(span.end):g}%"
        drawn.append(el("line", x1=x1, x2=x2, y1="50%", y2="50%", class_="answers"))
    terms = []
    for span in _in(strip, timeline.led, node):
        title = f"node {node} leads term {span.term}, {span.start:.1f} s to {span.end:.1f} s"
        terms.append(str(span.term))
        drawn.append(strip.bar(span.start, span.end, title, str(span.term), f"led tone-{tones[span.term or 0]}"))
    leads = f"leads terms {', '.join(dict.fromkeys(terms))}" if terms else "does not lead"
    return lane(f"node {node}", f"node {node} {leads}", *drawn)


def _in(strip: Strip, spans: Iterable[Span], node: int) -> Iterator[Span]:
    return (span for span in spans if span.node == node and strip.shows(span.start, span.end))


def _gap(strip: Strip, start: float, end: float) -> Markup:
    text = f"{end - start:.2f} s at {start:.1f} s"
    bar = strip.bar(start, end, text, "", "gap")
    right = strip.x(end) < 60
    x, dx, class_ = (strip.x(end), 5, "beside") if right else (strip.x(start), -5, "beside before")
    beside = el("text", f"{end - start:.2f} s", x=f"{x:g}%", y=LANE_PX - 4, dx=dx, class_=class_)
    return lane("longest gap", f"Longest time without an acknowledged publish: {text}", bar, beside)


def _rates(strip: Strip, name: str, rates: Sequence[float], top: float, behind: Markup) -> Markup:
    first, last = int(strip.start / STEP_S), int(strip.end / STEP_S) + 1
    shown = rates[first:last]
    offset, width = first - strip.start / STEP_S, (strip.end - strip.start) / STEP_S
    path = [f"M{offset:g} {AREA_PX}"]
    for i, rate in enumerate(shown, 1):
        path.append(f"V{AREA_PX * (1 - rate / top):.1f}H{offset + i:g}")
    area = el("path", d="".join(path) + f"V{AREA_PX}Z", class_="area")
    stretched = el("svg", area, viewBox=f"0 0 {width:g} {AREA_PX}", preserveAspectRatio="none", width="100%",
                   height=AREA_PX)  # fmt: skip
    text = f"{name} acknowledged a second: {min(shown, default=0):.0f} to {max(shown, default=0):.0f}"
    base = el("line", x1="0", x2="100%", y1=AREA_PX - 0.5, y2=AREA_PX - 0.5, class_="base")
    ceiling = el("line", x1="0", x2="100%", y1="0.5", y2="0.5", class_="ceiling")
    label = join(el("span", f"{top:,.0f}", class_="top"), f"{name}/s")
    return lane(label, text, behind, stretched, ceiling, base, height=AREA_PX, class_="rates")


def _axis(strip: Strip) -> Markup:
    length = strip.end - strip.start
    step = next((step for step in TICKS_S if length / step <= TICKS), TICKS_S[-1])
    every = ceil(length / step / TICKS_NARROW)
    drawn = []
    for i in range(ceil(strip.start / step), int(strip.end / step) + 1):
        x = strip.x(i * step)
        anchor = "start" if x < 2 else "end" if x > 98 else "middle"
        held = anchor != "middle" or 8 < x < 92  # on a phone, by the lane's ends
        wide = "" if i % every == 0 and held else "wide"
        drawn.append(el("line", x1=f"{x:g}%", x2=f"{x:g}%", y1="0", y2="4", class_=f"tick {wide}".strip()))
        drawn.append(el("text", _clock(i * step), x=f"{x:g}%", y=AXIS_PX - 3, class_=f"tick {anchor} {wide}".strip()))
    title = f"Time from {strip.start:.0f} s to {strip.end:.0f} s"
    return lane("time", title, *drawn, height=AXIS_PX, class_="axis")


def _clock(seconds: int) -> str:
    return f"{seconds // 60}:{seconds % 60:02d}"
