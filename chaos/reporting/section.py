"""All about one scenario: what was done and found, the picture, each round with its proofs, anomalies, files.

Rules of this file: what went wrong comes first; what is long is folded, and says how long it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from chaos.checks.findings import Anomaly
from chaos.figures import Round, spread
from chaos.reporting.cases import Case
from chaos.reporting.markup import Markup, el, join, raw
from chaos.reporting.strips import draw
from chaos.reporting.tables import Cell, badge, count, seconds, table

OUTCOMES = ("ok", "fail", "unknown")
LEGEND = (
    "How to read these pictures. A fault's bar, with the nodes it hits, lasts from injection to heal, the line after "
    "it until all nodes are whole again; hatched with a question mark: not shown to take hold. A node's line is there "
    "while it answers, a block with the term's number while it leads. What has no room shows when pointed at."
)
"""Under the first picture."""


def section(case: Case, number: int) -> Markup:
    """The section; `number` makes its anchor, see `anchor`."""
    run, heading = case.run, f"scenario-{number}"
    what = f"{case.text}. {run.nodes} nodes, {run.seconds:g} s, seed {run.seed}."
    return el(
        "section",
        el("h2", run.scenario, raw(" "), badge(case.verdict.word), id=heading),
        el("p", what[:1].upper() + what[1:], class_="what"),
        *_reasons(case),
        _facts(case),
        _picture(case, LEGEND if number == 0 else ""),
        *_rounds(case),
        _operations(case),
        *_anomalies(case),
        _evidence(case),
        el("p", el("a", "back to all scenarios", href="#all"), class_="back"),
        aria_labelledby=heading,
    )


def anchor(number: int) -> str:
    """Where the section of this number is."""
    return f"#scenario-{number}"


def _reasons(case: Case) -> Iterator[Markup]:
    if case.verdict.reasons:
        yield el("ul", *(el("li", reason) for reason in case.verdict.reasons), class_=f"reasons {case.verdict.word}")


def _facts(case: Case) -> Markup:
    figures = case.figures
    rate = "not known" if figures.before_rate is None else f"{figures.before_rate:,.0f} a second"
    facts = [
        ("acknowledged operations", count(figures.acknowledged)),
        ("before the first fault", f"{rate}, over {figures.before_s:.1f} s"),
        ("longest gap", f"{seconds(figures.longest_gap_s)} s, at {figures.longest_gap_at:.1f} s"),
        ("fault to new leader", _median(each.leader_s for each in figures.rounds)),
        ("heal to full redundancy", _median(each.redundant_s for each in figures.rounds)),
        ("elections", f"{figures.elections} after the first; the term rose by {figures.term_rise}"),
        *_leases(case.report.checked),
    ]
    written = [el("div", el("dt", name), el("dd", value)) for name, value in facts]
    again = el("div", el("dt", "the same again"), el("dd", el("code", case.command)), class_="again")
    return el("dl", *written, again, class_="facts")


def _leases(checked: Mapping[str, int]) -> Iterator[tuple[str, str]]:
    """What became of deliveries, where there were some."""
    handed = checked.get("messages handed out on a lease", 0)
    if handed:
        again, over = checked.get("of them handed out again", 0), checked.get("leases that ran out", 0)
        yield "on a lease", f"{count(handed)} deliveries, {count(again)} of them not the first; {count(over)} ran out"
        yield "dead letters", count(checked.get("dead letters", 0))


def _median(values: Iterable[float | None]) -> str:
    found = spread(values)
    if found is None:
        return "none was seen"
    rounds = "once" if found.n == 1 else f"{found.n} times"
    return f"median {found.median:.2f} s, at most {found.max:.2f} s ({rounds})"


def _picture(case: Case, legend: str) -> Markup:
    caption = el("figcaption", legend) if legend else ""
    return el("figure", draw(case.timeline, case.figures, case.run.nodes), caption, class_="timeline")


def _rounds(case: Case) -> Iterator[Markup]:
    rounds = case.figures.rounds
    if not rounds:
        return
    proven, healed = sum(each.proven for each in rounds), sum(each.healed for each in rounds)
    summary = f"{len(rounds)} rounds: {proven} shown to take hold, {healed} shown to be gone after the heal"
    heads = (
        "<round", "<fault", "<nodes", "at", "held", "gap", "new leader", "redundancy", "gap after heal", "<took hold",
        "<gone after the heal",
    )  # fmt: skip
    rows = [_round(each, case) for each in rounds]
    opened = "open" if proven < len(rounds) or healed < len(rounds) else None
    written = table("Rounds and proofs; times in seconds", heads, rows, "rounds")
    yield el("details", el("summary", summary), written, open=opened)


def _round(each: Round, case: Case) -> list[Cell]:
    held = None if each.heal_at is None else each.heal_at - each.inject_at
    over = each.fault in case.demands.healthy and each.gap_s > case.demands.gap_s
    return [
        Cell(str(each.number), "word"), Cell(each.fault, "word"), Cell(" ".join(map(str, each.targets)) or "–", "word"),
        Cell(f"{each.inject_at:.1f}"), Cell(seconds(held)),
        Cell(f"{seconds(each.gap_s)}{' !' if over else ''}", "number over" if over else "number"),
        Cell(seconds(each.leader_s)), Cell(seconds(each.redundant_s)), Cell(seconds(each.gap_healed_s)),
        _proof(each.proven, each.proof), _proof(each.healed, each.healing),
    ]  # fmt: skip


def _proof(shown: bool, said: str) -> Cell:
    return Cell(f"{'yes' if shown else 'not shown'}: {said}", "said" if shown else "said doubt")


def _operations(case: Case) -> Markup:
    rows = [
        [Cell(kind, "word"), *(Cell(count(outcomes.get(outcome, 0))) for outcome in OUTCOMES)]
        for kind, outcomes in case.figures.operations.items()
    ]
    codes = ", ".join(f"{code} {times:,}×" for code, times in case.figures.errors.items())
    last = el("p", f"What those that were not ok were answered last: {codes}.") if codes else ""
    summary = "Operations by kind and outcome"
    return el("details", el("summary", summary), table(summary, ("<kind", *OUTCOMES), rows), last)


def _anomalies(case: Case) -> Iterator[Markup]:
    report = case.report
    if not report.anomalies:
        return
    for rule, total in report.totals.items():
        examples = [anomaly for anomaly in report.anomalies if anomaly.rule == rule]
        more = f", the first {len(examples)} shown" if total > len(examples) else ""
        yield el("h3", f"Anomaly {rule}: {total:,}{more}")
        yield el("ol", *(_anomaly(anomaly, case) for anomaly in examples), class_="anomalies")


def _anomaly(anomaly: Anomaly, case: Case) -> Markup:
    shown = [el("code", f"{line}  {case.lines[line]}") for line in anomaly.lines if line in case.lines]
    quoted = el("pre", *(join(line, "\n") for line in shown)) if shown else ""
    return el("li", el("p", anomaly.text), quoted)


def _evidence(case: Case) -> Markup:
    checked = "; ".join(f"{times:,} {what}" for what, times in case.report.checked.items()) or "nothing"
    files = [el("li", el("a", path.rsplit("/", 1)[-1], href=_href(path))) for path in case.files]
    found = "no anomaly" if case.report.valid else "anomalies"
    return join(
        el("p", f"The checker found {found}. It looked at: {checked}.", class_="checked"),
        el("ul", *files, class_="files", aria_label="Files of this run") if files else "",
    )


def _href(path: str) -> str:
    """A path as an address beside the report: nothing in it is a scheme, a query or a fragment."""
    return "./" + "".join(c if c.isalnum() or c in "/-_.~" else "".join(f"%{b:02X}" for b in c.encode()) for c in path)
