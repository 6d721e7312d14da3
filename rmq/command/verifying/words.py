"""What a run came to: as sentences, and as one JSON object.

    wrong          the checker found something that no correct cluster can have answered
    inconclusive   it found nothing, but not everything could be taken out in the end, or nothing was acknowledged
    passed         it found nothing

Rules of this file: no more is said than was checked; what was not is said too.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

from rich.text import Text

from chaos.checker import Report
from rmq.command.verifying.course import Plan, Seen
from rmq.command.verifying.notes import Notes

Verdict = Literal["passed", "wrong", "inconclusive"]
SHOWN = 3
"""Examples of each rule for people; JSON has all that the checker kept."""
INNOCENT = {
    "early": "Leases run by the leaders' clocks: where those of the nodes differ, a lease looks too short.",
    "topic_stale": "It looks the same where somebody else has deleted the topic.",
}
"""For a rule what else it can be than a fault of the cluster."""
_CHECKED = (
    ("messages published", "messages published"), ("messages received", "received"),
    ("messages handed out on a lease", "handed out on leases"), ("of them handed out again", "of them again"),
    ("messages acked", "acked"), ("answers that nothing waits", "answers that nothing waits"),
    ("statuses", "statuses of nodes"), ("states compared between nodes", "states compared between nodes"),
)  # fmt: skip
"""What the checker counts, and how it is called here."""


class Result(NamedTuple):
    """All that there is to say. `kept`: where the history is."""

    plan: Plan
    notes: Notes
    seen: Seen
    report: Report
    kept: Path | None

    @property
    def verdict(self) -> Verdict:
        """In one word."""
        if self.report.anomalies:
            return "wrong"
        return "inconclusive" if self.why_inconclusive else "passed"

    @property
    def why_inconclusive(self) -> str | None:
        """What stands in the way of a verdict."""
        if self.notes.publishes == 0:
            return "nothing was acknowledged"
        return self.seen.trouble

    @property
    def not_checked(self) -> list[str]:
        """Sentences. The nodes' log files are on their disks, so they are never read here: one sentence for all."""
        said = [each.partition(": ")[0].rstrip(".") + "." for each in self.report.missing if " log " not in each]
        return [*said, "The nodes' log files were not read: they are on their disks (`make chaos` compares them)."]


def as_json(result: Result) -> dict[str, Any]:
    """For programs."""
    notes, report = result.notes, result.report
    return {
        "verdict": result.verdict, "inconclusive_because": result.why_inconclusive,
        "cluster": list(result.plan.urls), "nodes": result.seen.nodes, "clients": result.plan.clients,
        "seconds": round(notes.load_s, 3), "acknowledged": notes.load_acknowledged,
        "acknowledged_per_s": _rate(notes), "longest_without_s": round(notes.longest_s(), 3),
        "leaders": [{"term": term, "node": node} for term, node in sorted(notes.leaders.items())],
        "operations": report.counts, "checked": report.checked, "not_checked": result.not_checked,
        "anomalies": [
            {"rule": rule, "times": times, "examples": [each.text for each in report.anomalies if each.rule == rule]}
            for rule, times in report.totals.items()
        ],
        "history": None if result.kept is None else str(result.kept),
    }  # fmt: skip


def lines(result: Result) -> Iterator[Text]:
    """For people, the verdict last."""
    notes, clients = result.notes, result.plan.clients
    yield Text(
        f"Load:        {notes.load_s:.1f} s, {clients} publishers and {clients} consumers, "
        f"{notes.load_acknowledged:,} operations acknowledged ({_rate(notes):,.0f}/s); "
        f"the longest time without one was {notes.longest_s():.2f} s."
    )
    led = ", ".join(f"node {node} (term {term})" for term, node in sorted(notes.leaders.items()))
    yield Text(f"Leaders:     {led or 'none was seen'}.")
    counts = result.report.checked
    checked = ", ".join(f"{counts[name]:,} {called}" for name, called in _CHECKED if counts.get(name))
    yield Text(f"Checked:     {checked or 'nothing'}.")
    yield Text(f"Not checked: {' '.join(result.not_checked)}", "dim")
    if result.kept is not None:
        yield Text(f"History:     {result.kept}")
    yield from _wrong(result)
    yield _verdict(result)


def _wrong(result: Result) -> Iterator[Text]:
    report = result.report
    for rule, times in report.totals.items():
        examples = [each.text for each in report.anomalies if each.rule == rule]
        yield Text(f"{rule}, {times:,} {'time' if times == 1 else 'times'}", "bold red")
        for text in examples[:SHOWN]:
            yield Text(f"  {text}")
        if len(examples) > SHOWN:
            yield Text("  …")
        if rule in INNOCENT:
            yield Text(f"  {INNOCENT[rule]}")
    if report.totals and result.kept is None:
        yield Text("  (Lines are those of the history: --keep FILE keeps it.)", "dim")


def _verdict(result: Result) -> Text:
    if result.verdict == "wrong":
        return Text("Verdict:     WRONG. No correct cluster can have answered like that.", "bold red")
    if result.verdict == "inconclusive":
        text = f"inconclusive: {result.why_inconclusive}. Nothing is claimed."
        return Text(f"Verdict:     {text}", "bold yellow")
    return Text(
        "Verdict:     nothing is wrong. Nothing acknowledged was lost, nothing was made up, doubled or out of order, "
        "and no lease ended early.", "bold green",
    )  # fmt: skip


def _rate(notes: Notes) -> float:
    return round(notes.load_acknowledged / notes.load_s, 1) if notes.load_s else 0.0
