"""report.html: the verdict in words, the table of scenarios, the distributions, and a section for each scenario.

Theory. One file that needs nothing else: its style stands in it (from report.css), its pictures are SVG, it runs no
script, and its content security policy forbids the browser to fetch anything. So it can be mailed, kept, and read
in ten years, on paper too.

Rules of this file: the answer comes first, then what it rests on; the same figure stands in one place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from chaos.figures import ByFault, by_fault, spread
from chaos.reporting.cases import Case
from chaos.reporting.dots import dots
from chaos.reporting.markup import Markup, el, join, raw
from chaos.reporting.section import anchor, section
from chaos.reporting.summary import verdict_of
from chaos.reporting.tables import MARKS, NOTHING, Cell, badge, count, middle_and_most, seconds, table

STYLE = Path(__file__).with_name("report.css").read_text(encoding="utf-8")
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
HATCH = raw(
    '<svg width="0" height="0" aria-hidden="true" class="defs"><defs><pattern id="hatch" width="6" height="6" '
    'patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect width="6" height="6" class="hatch-paper"></rect>'
    '<rect width="2" height="6" class="hatch-ink"></rect></pattern></defs></svg>'
)
NOTES = (
    ("acknowledged operation", "answered ok, and it changed something: a publish, a receive that brought a message, an "
     "ack, nack or extend of a lease that was not over, a creation that made the topic. A batch is one."),
    ("gap", "the longest time without an acknowledged publish, by any client to any topic, from the first publish to "
     "the last. A fault's gap is the longest that overlaps the time from its injection to its heal, in its full "
     "length."),
    ("new leader", "from the begin of the injection to the first status that shows a leader of a higher term; a dash "
     "where none was needed."),
    ("redundancy", "from the begin of the heal to the moment when every node answered, followed one leader and had "
     "applied what was committed."),
    ("inconclusive", "nothing wrong was found, but the run proves too little: a fault was not shown to take hold or to "
     "be gone, the load was too small, or evidence is missing."),
)  # fmt: skip


def page(cases: Sequence[Case]) -> str:
    """The text of report.html."""
    word = verdict_of(cases)
    body = el(
        "body",
        HATCH,
        el("main", _head(cases, word), _scenarios(cases), *_distributions(cases), _notes(),
           *(section(case, number) for number, case in enumerate(cases))),
    )  # fmt: skip
    head = raw(
        '<meta charset="utf-8"/><meta name="viewport" content="width=device-width, initial-scale=1"/>'
        '<meta name="color-scheme" content="light dark"/>'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}"/>'
    )
    title = el("title", f"{MARKS[word]} Chaos: {headline(cases)}")
    return "<!doctype html>\n" + el("html", el("head", head, title, el("style", raw(STYLE))), body, lang="en") + "\n"


def headline(cases: Sequence[Case]) -> str:
    """The verdict in words."""
    if not cases:
        return "No scenario was run."
    words = [case.verdict.word for case in cases]
    failed, doubtful, total = words.count("failed"), words.count("inconclusive"), len(cases)
    if total == 1:
        return f"The scenario {cases[0].run.scenario} {'is inconclusive' if doubtful else words[0]}."
    if not failed and not doubtful:
        return f"All {total} scenarios passed."
    parts = [f"{failed} failed"] if failed else []
    if doubtful:
        parts.append(f"{doubtful} {'is' if doubtful == 1 else 'are'} inconclusive")
    return f"Of {total} scenarios {' and '.join(parts)}."


def _head(cases: Sequence[Case], word: str) -> Markup:
    sign = el("span", MARKS[word], class_=f"mark {word}", aria_hidden="true")
    parts = [el("p", "RMQ · chaos report", class_="kicker"), el("h1", sign, raw(" "), headline(cases))]
    if cases:
        figures = [case.figures for case in cases]
        run, rounds = cases[0].run, sum(len(each.rounds) for each in figures)
        started = run.started_at.replace("T", " ").replace("+00:00", " UTC")
        text = (
            f"{count(sum(each.acknowledged for each in figures))} operations acknowledged over {count(rounds)} faults. "
            f"Started {started}; version {run.version}, image {run.image}."
        )
        parts.append(el("p", text, class_="lead"))
    return el("header", *parts)


def _scenarios(cases: Sequence[Case]) -> Markup:
    heads = (
        "<scenario", "<verdict", "seed", "acknowledged", "rate before", "longest gap", "new leader", "redundancy",
        "elections", "unknown", "fail",
    )  # fmt: skip
    rows = [_scenario(case, number) for number, case in enumerate(cases)]
    caption = (
        "Rate: acknowledged operations a second before the first fault. Times in seconds; new leader and redundancy: "
        "median / maximum. A gap is held against a scenario only where a majority stays healthy."
    )
    return el("section", table(caption, heads, rows, "scenarios"), id="all", aria_label="All scenarios")


def _scenario(case: Case, number: int) -> list[Cell]:
    figures = case.figures
    outcomes = figures.operations.values()
    return [
        Cell(el("a", case.run.scenario, href=anchor(number)), "word"), Cell(badge(case.verdict.word), "word"),
        Cell(str(case.run.seed)), Cell(count(figures.acknowledged)),
        Cell(NOTHING if figures.before_rate is None else f"{figures.before_rate:,.0f}"),
        Cell(seconds(figures.longest_gap_s)),
        Cell(middle_and_most(spread(each.leader_s for each in figures.rounds))),
        Cell(middle_and_most(spread(each.redundant_s for each in figures.rounds))),
        Cell(count(figures.elections)),
        Cell(count(sum(each.get("unknown", 0) for each in outcomes))),
        Cell(count(sum(each.get("fail", 0) for each in outcomes))),
    ]  # fmt: skip


def _distributions(cases: Sequence[Case]) -> Iterator[Markup]:
    faults = by_fault(case.figures for case in cases)
    if not faults:
        return
    healthy = {name: case.demands.gap_s for case in cases for name in case.demands.healthy}
    gaps: dict[str, list[float]] = {}
    leaders: dict[str, list[float]] = {}
    for each in (each for case in cases for each in case.figures.rounds if each.proven and each.fault in healthy):
        gaps.setdefault(each.fault, []).append(each.gap_s)
        if each.leader_s is not None and each.targets == [each.leader]:
            leaders.setdefault(each.fault, []).append(each.leader_s)
    parts = [el("h2", "Faults that leave a majority healthy", id="distributions")] if gaps else []
    pictures = []
    if gaps:
        limit_s = min(healthy.values())
        text = f"Seconds without an acknowledgement; {limit_s:g} s are allowed"
        pictures.append(el("figure", el("figcaption", text), dots(gaps, limit_s)))
    if leaders:
        caption = el("figcaption", "Seconds from a fault of the leader to a new one")
        pictures.append(el("figure", caption, dots(leaders, None)))
    yield el("section", *parts, el("div", *pictures, class_="pair"), _by_fault(faults), aria_label="Distributions")


def _by_fault(faults: Sequence[ByFault]) -> Markup:
    heads = ("<fault", "rounds", *("min", "median", "p90", "max") * 3)
    groups = (("", 2), ("gap", 4), ("fault to new leader", 4), ("heal to full redundancy", 4))
    rows = []
    for each in faults:
        cells = [Cell(each.fault, "word"), Cell(str(each.rounds))]
        for found in (each.gap_s, each.leader_s, each.redundant_s):
            numbers = (None,) * 4 if found is None else (found.min, found.median, found.p90, found.max)
            cells += [Cell(seconds(number)) for number in numbers]
        rows.append(cells)
    return table("All rounds with a fault that took hold, in seconds", heads, rows, "spreads", groups)


def _notes() -> Markup:
    notes = [join(el("dt", term), el("dd", text)) for term, text in NOTES]
    return el("details", el("summary", "What the words mean, exactly"), el("dl", *notes, class_="notes"))
